// Stretches of a forward pass that run again: how much memory they save, and that no bit changes.

import GraftIR
import GraftOps
import Testing

@testable import GraftPlanning

@Suite struct RecomputationTests {
  private let layers = 16
  private let bytes = 8 * 4 * 4 * 4

  /// A forward pass of pairs of nodes, each read once more on the way back, with a random mask in its middle.
  private func graph() throws -> Graph {
    let type = "f32[N,8,4,4]"
    var lines = [
      "graph \"g\" {", "%0 \"x\" = input : \(type)", "%1 \"random\" = input : i32[4]",
    ]
    for layer in 1...layers {
      let node =
        layer == layers / 2
        ? "random_dropout(%\(layer), %1) {ratio=0.5, stream=0}"
        : "average_pool(%\(layer == 1 ? 0 : layer)) {kernel=[3, 3], strides=[1, 1], "
          + "pads=[1, 1, 1, 1]}"
      lines.append("%\(layer + 1) = \(node) : \(type) from \"forward\(layer)\"")
    }
    var last = layers + 1
    lines.append("%\(last + 1) = channel_shuffle(%\(last)) {groups=2} : \(type) from \"turn\"")
    for layer in (1...layers).reversed() {
      last += 1
      lines.append("%\(last + 1) = mul(%\(last), %\(layer + 1)) : \(type) from \"back\(layer)\"")
    }
    lines += ["output \"logits\" = %\(layers + 1)", "output \"y\" = %\(last + 1)", "}"]
    let graph = try Graph(parsing: lines.joined(separator: "\n"))
    try graph.verify()
    return graph
  }

  private func recomputed(
    within bytes: Int
  ) throws -> (before: Graph, after: Graph, report: RematerializationReport) {
    let before = try graph()
    var after = before
    let report = try after.recompute(
      forwardUpTo: before.outputs[0].value, batch: 2, within: bytes)
    try after.verify()
    #expect(report.again.allSatisfy(after.contains))
    return (before, after, report)
  }

  @Test func nothingRunsAgainWithoutNeed() throws {
    let (before, after, report) = try recomputed(within: .max)
    #expect(report.again.isEmpty && report.multiplyAdds == 0)
    #expect(after == before)
  }

  @Test func theLeastIsAboutTwoRootsOfTheDepth() throws {
    let (before, after, report) = try recomputed(within: 0)
    // All but the last value, which is an output, wait for the way back; with stretches of four, what is kept
    // is one value a stretch and the values of one stretch.
    #expect(report.bytesBefore >= (layers - 1) * bytes)
    #expect(report.bytesAfter <= (2 * 4 + 2) * bytes)
    #expect(
      try MemoryPlan(planning: after).bytes(batch: 2)
        < MemoryPlan(planning: before).bytes(batch: 2))
    // Nothing runs a third time.
    let names = Dictionary(grouping: after.nodes, by: { $0.origins.first ?? "" })
    #expect(names.values.allSatisfy { $0.count <= 2 })
    // A mean of nine of 128 elements each.
    let pools = report.again.filter { after[$0].opcode == "average_pool" }
    #expect(report.multiplyAdds >= pools.count * 128 * 9)
  }

  @Test(arguments: [0, 8, 10, 12, 14])
  func noBitChanges(values: Int) throws {
    let (before, after, report) = try recomputed(within: 2 * values * bytes)
    #expect(!report.again.isEmpty)
    if values > 9 {
      #expect(try MemoryPlan(planning: after).bytes(batch: 2) <= 2 * values * bytes)
    }
    let x = try DenseTensor(
      shape: [2, 8, 4, 4], elements: (0..<256).map { Float($0 % 37) / 16 - 1 })
    let random = try DenseTensor(shape: [4], elements: [7, 11, 3, 0].map { Dimension($0) })
    var (first, second) = (ReferenceEvaluator(before), ReferenceEvaluator(after))
    let inputs = ["x": HostTensor.float32(x), "random": .integer(random)]
    #expect(try first.run(inputs) == second.run(inputs))
  }

  @Test func lessMemoryNeverCostsLess() throws {
    var last = Int.max
    for values in [2, 8, 10, 12, 14, 18] {
      let work = try recomputed(within: 2 * values * bytes).report.multiplyAdds
      #expect(work <= last)
      last = work
    }
    #expect(last == 0)
  }
}
