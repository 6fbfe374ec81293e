// The planner as a pure function: hand-made cases whose optimum is plain, random ones whose invariants
// must hold, and small random ones against every order of placing.

import GraftTesting
import Testing

@testable import GraftPlanning

@Suite struct BufferPlanningTests {
  private func request(_ first: Int, _ last: Int, _ bytes: Int) -> BufferRequest {
    BufferRequest(lifetime: first...last, byteCount: bytes)
  }

  @Test func nothingNeedsNothing() {
    #expect(planMemory([]) == BufferPlan(offsets: [], byteCount: 0))
    #expect(planMemory([request(0, 3, 0)]) == BufferPlan(offsets: [0], byteCount: 0))
  }

  @Test func buffersThatNeverMeetShareAPlace() {
    let plan = planMemory([request(0, 1, 128), request(2, 3, 128), request(4, 9, 64)])
    #expect(plan == BufferPlan(offsets: [0, 0, 0], byteCount: 128))
  }

  @Test func aChainTakesItsTwoLargestNeighbors() {
    let sizes = [640, 320, 960, 64, 512]
    let plan = planMemory(sizes.enumerated().map { request($0, $0 + 1, $1) })
    #expect(plan.byteCount == 320 + 960)
  }

  @Test func sizesAreRoundedUpToTheAlignment() {
    let plan = planMemory([request(0, 1, 1), request(0, 1, 65)], alignment: 64)
    #expect(plan.byteCount == 64 + 128)
    #expect(plan.offsets.allSatisfy { $0.isMultiple(of: 64) })
    #expect(planMemory([request(0, 1, 3), request(0, 1, 5)], alignment: 1).byteCount == 8)
  }

  @Test func liveBytesCountBothEndsOfALifetime() {
    #expect(greatestLiveBytes([request(0, 2, 10), request(2, 3, 5), request(3, 3, 7)]) == 15)
    #expect(greatestLiveBytes([]) == 0)
  }

  @Test func theExactSearchBeatsFirstFitByStart() {
    // Placing these by their first step leaves a hole that only another order fills.
    let requests = [
      request(0, 2, 64), request(0, 5, 128), request(3, 8, 192), request(6, 9, 128),
      request(9, 10, 256), request(4, 5, 64),
    ]
    let plan = planMemory(requests)
    #expect(plan.byteCount == bestOverAllOrders(requests))
    expectDisjoint(requests, plan)
  }

  @Test(arguments: 0..<60) func randomPlansAreSoundAndCloseToTheBound(seed: UInt64) {
    var numbers = SplitMix(seed: seed)
    let requests = randomRequests(Int.random(in: 1...60, using: &numbers), &numbers)
    let plan = planMemory(requests)
    expectDisjoint(requests, plan)
    let bound = greatestLiveBytes(requests)
    #expect(plan.byteCount >= bound)
    #expect(plan.byteCount <= bound * 5 / 4, "\(plan.byteCount) against \(bound)")
    #expect(planMemory(requests) == plan, "the same request gave another plan")
  }

  @Test(arguments: 0..<30) func smallPlansAreOptimal(seed: UInt64) {
    var numbers = SplitMix(seed: 1000 + seed)
    let requests = randomRequests(Int.random(in: 2...6, using: &numbers), &numbers)
    #expect(planMemory(requests).byteCount == bestOverAllOrders(requests))
  }

  /// The activations of a ResNet of bottlenecks: in each block the input waits for the addition while
  /// two narrow values and the result come and go. Its arena is the bound: input, result and the
  /// narrow value of one block at the widest stage.
  @Test func aResidualNetworkNeedsNoMoreThanItsWidestBlock() {
    var requests = [request(0, 1, 64 * 112 * 112 * 4)]
    var step = 1
    var input = (first: 1, bytes: 64 * 56 * 56 * 4)
    for (stage, blocks) in [3, 4, 6, 3].enumerated() {
      let extent = 56 >> stage
      let narrow = (64 << stage) * extent * extent * 4
      for _ in 0..<blocks {
        requests.append(request(step + 1, step + 2, narrow))
        requests.append(request(step + 2, step + 3, narrow))
        requests.append(request(input.first, step + 3, input.bytes))
        input = (step + 3, 4 * narrow)
        step += 3
      }
    }
    requests.append(request(input.first, step + 1, input.bytes))
    let plan = planMemory(requests)
    expectDisjoint(requests, plan)
    let widest = 64 * 56 * 56 * 4
    #expect(plan.byteCount == 4 * widest + 4 * widest + widest)
    #expect(plan.byteCount == greatestLiveBytes(requests))
  }

  private func randomRequests(_ count: Int, _ numbers: inout SplitMix) -> [BufferRequest] {
    (0..<count).map { _ in
      let first = Int.random(in: 0..<40, using: &numbers)
      return request(
        first, first + Int.random(in: 0..<8, using: &numbers),
        64 * Int.random(in: 1...20, using: &numbers))
    }
  }

  private func expectDisjoint(_ requests: [BufferRequest], _ plan: BufferPlan) {
    for i in requests.indices {
      #expect(plan.offsets[i] >= 0)
      #expect(plan.offsets[i] + requests[i].byteCount <= plan.byteCount)
      for j in 0..<i where requests[i].lifetime.overlaps(requests[j].lifetime) {
        let isApart =
          plan.offsets[i] + requests[i].byteCount <= plan.offsets[j]
          || plan.offsets[j] + requests[j].byteCount <= plan.offsets[i]
        #expect(isApart, "\(i) and \(j) overlap")
      }
    }
  }

  /// The smallest peak over all orders of putting each buffer on top of what it meets.
  private func bestOverAllOrders(_ requests: [BufferRequest]) -> Int {
    func best(_ placed: [(Int, Int)], _ left: [Int], _ peak: Int) -> Int {
      guard !left.isEmpty else { return peak }
      return left.map { one in
        let offset =
          placed.filter { requests[$0.0].lifetime.overlaps(requests[one].lifetime) }
          .map { $0.1 + requests[$0.0].byteCount }.max() ?? 0
        return best(
          placed + [(one, offset)], left.filter { $0 != one },
          max(peak, offset + requests[one].byteCount))
      }.min() ?? peak
    }
    return best([], Array(requests.indices), 0)
  }
}
