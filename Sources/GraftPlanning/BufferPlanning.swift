// Memory planning as a pure function from lifetimes, sizes and an alignment to offsets and an arena size.
// Independent of graphs; Liveness creates the requests and MemoryPlanner uses the result.

/// A buffer that is live during some steps.
public struct BufferRequest: Hashable, Sendable {
  /// The steps, first to last, during which the contents must be kept.
  public var lifetime: ClosedRange<Int>
  public var byteCount: Int

  public init(lifetime: ClosedRange<Int>, byteCount: Int) {
    self.lifetime = lifetime
    self.byteCount = byteCount
  }
}

/// The placement of a list of requests.
public struct BufferPlan: Hashable, Sendable {
  /// The offset of each request in the arena, in bytes.
  public var offsets: [Int]
  /// The size of the arena.
  public var byteCount: Int

  public init(offsets: [Int], byteCount: Int) {
    self.offsets = offsets
    self.byteCount = byteCount
  }
}

/// The maximum number of live bytes at a step, a lower bound for any placement.
public func greatestLiveBytes(_ requests: [BufferRequest]) -> Int {
  // A buffer counts from its first step up to the one after its last.
  var changes: [Int: Int] = [:]
  for request in requests {
    changes[request.lifetime.lowerBound, default: 0] += request.byteCount
    changes[request.lifetime.upperBound + 1, default: 0] -= request.byteCount
  }
  var live = 0
  var greatest = 0
  for step in changes.keys.sorted() {
    live += changes[step, default: 0]
    greatest = max(greatest, live)
  }
  return greatest
}

/// Places every request so that no two that are live at one step overlap.
///
/// Finding the smallest arena is NP-hard (dynamic storage allocation, Garey and Johnson SR2), so this
/// takes the best of several greedy orders, improves it by local search, and searches exactly for at most
/// ``exactSearchLimit`` requests. The result depends only on the arguments.
/// - Parameters:
///   - requests: buffers with lifetimes; sizes are rounded up to `alignment`.
///   - alignment: every offset is a multiple of it; at least 1.
public func planMemory(_ requests: [BufferRequest], alignment: Int = 64) -> BufferPlan {
  let unit = max(1, alignment)
  let rounded = requests.map {
    BufferRequest(
      lifetime: $0.lifetime, byteCount: (max(0, $0.byteCount) + unit - 1) / unit * unit)
  }
  var search = PlacementSearch(rounded)
  search.tryGreedyOrders()
  search.improve(attempts: 40 * requests.count)
  if requests.count <= exactSearchLimit { search.searchExactly() }
  return BufferPlan(offsets: search.best.offsets, byteCount: search.best.byteCount)
}

/// Up to this many requests the optimum is searched for exactly.
public let exactSearchLimit = 10

/// The best placement found so far, and the ways of finding better ones.
struct PlacementSearch {
  /// Limits the local search to about a second; inference networks do not reach it.
  private static let looksAllowed = 20_000_000

  private let requests: [BufferRequest]
  /// For each request the others that are live at one of its steps.
  private let conflicts: [[Int]]
  private let lowerBound: Int
  private(set) var best: (order: [Int], offsets: [Int], byteCount: Int)

  init(_ requests: [BufferRequest]) {
    self.requests = requests
    conflicts = requests.indices.map { one in
      requests.indices.filter {
        $0 != one && requests[$0].byteCount > 0
          && requests[$0].lifetime.overlaps(requests[one].lifetime)
      }
    }
    lowerBound = greatestLiveBytes(requests)
    best = (Array(requests.indices), [], Int.max)
  }

  private var isOptimal: Bool { best.byteCount <= lowerBound }

  // MARK: Greedy

  mutating func tryGreedyOrders() {
    for key in greedyKeys() where !isOptimal {
      let order = requests.indices.sorted {
        (key[$0].0, key[$0].1, $0) < (key[$1].0, key[$1].1, $1)
      }
      consider(order, bestFit: true)
      consider(order, bestFit: false)
    }
  }

  /// The sort keys of the requests for each greedy order: large, long-lived, conflicting or early first.
  private func greedyKeys() -> [[(Int, Int)]] {
    let sizes = requests.map { -$0.byteCount }
    let spans = requests.map { -$0.lifetime.count }
    let areas = requests.map { -$0.byteCount * $0.lifetime.count }
    let starts = requests.map(\.lifetime.lowerBound)
    let ends = requests.map { -$0.lifetime.upperBound }
    let crowds = conflicts.map { -$0.count }
    let pressures = requests.indices.map { one in
      -greatestLiveBytes(
        (conflicts[one] + [one]).map { other in
          BufferRequest(
            lifetime: requests[other].lifetime.clamped(to: requests[one].lifetime),
            byteCount: requests[other].byteCount)
        })
    }
    return [
      (sizes, spans), (areas, sizes), (spans, sizes), (pressures, sizes), (pressures, spans),
      (crowds, sizes), (starts, sizes), (ends, sizes),
    ].map { Array(zip($0, $1)) }
  }

  /// Local search with a fixed seed: moves a buffer that determines the arena size to the front of the order,
  /// or moves two buffers, and keeps orders that are not worse. A placement examines every conflict, whose
  /// number is quadratic in training, so the search is limited by a fixed number of examined conflicts.
  mutating func improve(attempts: Int) {
    guard requests.count > 2 else { return }
    var generator = SplitMix64(state: 0x5EED)
    var current = best
    let looks = max(1, conflicts.reduce(0) { $0 + $1.count })
    for attempt in 0..<min(attempts, 4000, Self.looksAllowed / looks) where !isOptimal {
      var order = current.order
      if attempt.isMultiple(of: 2) {
        let top = requests.indices.filter {
          current.offsets[$0] + requests[$0].byteCount == current.byteCount
        }
        guard let moved = top.randomElement(using: &generator),
          let position = order.firstIndex(of: moved)
        else { continue }
        order.remove(at: position)
        order.insert(moved, at: Int.random(in: 0...position, using: &generator))
      } else {
        order.swapAt(
          Int.random(in: order.indices, using: &generator),
          Int.random(in: order.indices, using: &generator))
      }
      let placed = place(order, bestFit: attempt.isMultiple(of: 3))
      if placed.byteCount <= current.byteCount {
        current = (order, placed.offsets, placed.byteCount)
      }
      if current.byteCount < best.byteCount { best = current }
    }
  }

  private mutating func consider(_ order: [Int], bestFit: Bool) {
    let placed = place(order, bestFit: bestFit)
    if placed.byteCount < best.byteCount { best = (order, placed.offsets, placed.byteCount) }
  }

  /// Places the buffers in order, each in the smallest or the lowest gap that fits.
  private func place(_ order: [Int], bestFit: Bool) -> (offsets: [Int], byteCount: Int) {
    var offsets = Array(repeating: -1, count: requests.count)
    var peak = 0
    for one in order {
      let size = requests[one].byteCount
      guard size > 0 else {
        offsets[one] = 0
        continue
      }
      let taken = conflicts[one].filter { offsets[$0] >= 0 }.sorted { offsets[$0] < offsets[$1] }
      var end = 0
      var chosen: (offset: Int, gap: Int)?
      for other in taken {
        let gap = offsets[other] - end
        if gap >= size, chosen.map({ bestFit && gap < $0.gap }) ?? true { chosen = (end, gap) }
        end = max(end, offsets[other] + requests[other].byteCount)
      }
      let offset = chosen?.offset ?? end
      offsets[one] = offset
      peak = max(peak, offset + size)
    }
    return (offsets, peak)
  }

  // MARK: Exact

  /// Branch and bound over placements in which every buffer starts at 0 or at the end of another, in
  /// ascending order of offset. Every optimal placement can be compacted to one of these.
  mutating func searchExactly() {
    guard !isOptimal else { return }
    var offsets = Array(repeating: -1, count: requests.count)
    for one in requests.indices where requests[one].byteCount == 0 { offsets[one] = 0 }
    let count = requests.count { $0.byteCount > 0 }
    var budget = 2_000_000
    extend(&offsets, remaining: count, last: (0, -1), peak: 0, &budget)
  }

  private mutating func extend(
    _ offsets: inout [Int], remaining: Int, last: (offset: Int, index: Int), peak: Int,
    _ budget: inout Int
  ) {
    budget -= 1
    guard budget > 0, !isOptimal, peak < best.byteCount else { return }
    guard remaining > 0 else {
      best = (best.order, offsets, peak)
      return
    }
    let floors = requests.indices.map { one in
      offsets[one] >= 0
        ? -1
        : conflicts[one].reduce(0) { floor, other in
          offsets[other] < 0 ? floor : max(floor, offsets[other] + requests[other].byteCount)
        }
    }
    for one in requests.indices where floors[one] >= 0 {
      guard floors[one] + requests[one].byteCount < best.byteCount else { return }
    }
    for one in requests.indices where floors[one] >= 0 {
      // In ascending order, equal offsets in the order of the requests, so that each placement is visited
      // once.
      guard (floors[one], one) > last else { continue }
      offsets[one] = floors[one]
      extend(
        &offsets, remaining: remaining - 1, last: (floors[one], one),
        peak: max(peak, floors[one] + requests[one].byteCount), &budget)
      offsets[one] = -1
    }
  }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), which gives
/// the same numbers on every machine.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
