// Plans of graphs: who shares memory with whom, where outputs live, and that the verifier finds what is
// wrong with a plan.

import GraftDiagnostics
import GraftIR
import GraftOps
import Testing

@testable import GraftPlanning

@Suite struct MemoryPlannerTests {
  private func graph(_ text: String) throws -> Graph {
    let graph = try Graph(parsing: "graph \"g\" { %0 \"x\" = input : f32[N,8,4,4]\n\(text) }")
    try graph.verify()
    return graph
  }

  /// The value of the node that comes from `origin`.
  private func value(_ origin: String, in graph: Graph) throws -> ValueID {
    try #require(graph.nodes.first { $0.origins == [origin] }?.results.first)
  }

  private let bytes = 8 * 4 * 4 * 4

  @Test func aChainComputesInPlace() throws {
    let graph = try graph(
      """
      %1 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "a"
      %2 = relu(%1) : f32[N,8,4,4] from "b"
      %3 = tanh(%2) : f32[N,8,4,4] from "c"
      %4 = channel_shuffle(%3) {groups=2} : f32[N,8,4,4] from "d"
      output "y" = %4
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.aliases[try value("b", in: graph)] == (try value("a", in: graph)))
    #expect(plan.aliases[try value("c", in: graph)] == (try value("a", in: graph)))
    #expect(plan.arenaBytesPerBatch == bytes)
    #expect(plan.lowerBoundBytes == bytes)
    #expect(plan.placement(of: try value("d", in: graph)) == nil)
  }

  @Test func aValueThatIsReadLaterIsNotOverwritten() throws {
    let graph = try graph(
      """
      %1 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "a"
      %2 = relu(%1) : f32[N,8,4,4] from "b"
      %3 = add(%2, %1) : f32[N,8,4,4] from "c"
      %4 = channel_shuffle(%3) {groups=2} : f32[N,8,4,4] from "d"
      output "y" = %4
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.aliases[try value("b", in: graph)] == nil)
    // The sum may take either operand's memory.
    #expect(plan.aliases[try value("c", in: graph)] == (try value("b", in: graph)))
    #expect(plan.arenaBytesPerBatch == 2 * bytes)
  }

  @Test func anInputIsNeverOverwritten() throws {
    let graph = try graph(
      """
      %1 = relu(%0) : f32[N,8,4,4] from "a"
      %2 = channel_shuffle(%1) {groups=2} : f32[N,8,4,4] from "b"
      output "y" = %2
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.aliases.isEmpty)
    #expect(plan.placements.count == 1)
  }

  @Test func theLastViewIsMadeInTheOutput() throws {
    let graph = try graph(
      """
      %1 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "a"
      %2 = reshape(%1) {shape=shape [N,128]} : f32[N,128] from "b"
      output "y" = %2
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.aliases == [try value("a", in: graph): try value("b", in: graph)])
    #expect(plan.arenaBytes == 0)
  }

  @Test func aViewOfAnInputThatIsAnOutputIsCopied() throws {
    let graph = try graph(
      """
      %1 = reshape(%0) {shape=shape [N,128]} : f32[N,128] from "a"
      output "y" = %1
      output "z" = %0
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.aliases.isEmpty && plan.placements.isEmpty)
  }

  @Test func twoViewsThatAreOutputsDoNotShare() throws {
    let graph = try graph(
      """
      %1 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "a"
      %2 = reshape(%1) {shape=shape [N,128]} : f32[N,128] from "b"
      %3 = reshape(%1) {shape=shape [N,16,8]} : f32[N,16,8] from "c"
      output "y" = %2
      output "z" = %3
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.aliases == [try value("a", in: graph): try value("b", in: graph)])
  }

  @Test func anOutputThatIsReadLaterKeepsItsValue() throws {
    let graph = try graph(
      """
      %1 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "a"
      %2 = relu(%1) : f32[N,8,4,4] from "b"
      %3 = channel_shuffle(%2) {groups=2} : f32[N,8,4,4] from "c"
      output "y" = %1
      output "z" = %3
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.aliases.isEmpty)
    #expect(plan.placements.count == 1)
  }

  @Test func aConversionOfOnePixelInWholeBlocksIsFree() throws {
    let free = try graph(
      """
      %1 = global_average_pool(%0) : f32[N,8,1,1]@c8 from "a"
      %2 = convert_layout(%1) : f32[N,8,1,1] from "b"
      %3 = reshape(%2) {shape=shape [N,8]} : f32[N,8] from "c"
      %4 = softmax(%3) {axis=1} : f32[N,8] from "d"
      output "y" = %4
      """)
    let plan = try MemoryPlan(planning: free)
    #expect(plan.aliases[try value("c", in: free)] == (try value("a", in: free)))
    let type = TensorType(.float32, [.batch, 12, 1, 1])
    #expect(!type.isSameMemory(as: type.with(layout: .blocked(8))))
    #expect(type.isSameMemory(as: type.with(layout: .blocked(4))))
  }

  @Test func sizesAreThoseOfTheLayout() throws {
    let graph = try graph(
      """
      %1 = convert_layout(%0) : f32[N,8,4,4]@c8b1x1 from "a"
      %2 = convert_layout(%1) : f32[N,8,4,4] from "b"
      output "y" = %2
      """)
    let plan = try MemoryPlan(planning: graph)
    #expect(plan.placement(of: try value("a", in: graph))?.byteCount == 8 * 6 * 6 * 4)
  }

  @Test func aBlockedOutputIsRefused() throws {
    let graph = try graph(
      "%1 = convert_layout(%0) : f32[N,8,4,4]@c8 from \"a\" output \"y\" = %1")
    let error = #expect(throws: GraftError.self) { try MemoryPlan(planning: graph) }
    #expect(error?.message.contains("expected a plain layout") == true)
  }

  @Test func theVerifierFindsAnOverlap() throws {
    let graph = try graph(
      """
      %1 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "a"
      %2 = channel_shuffle(%1) {groups=2} : f32[N,8,4,4] from "b"
      %3 = channel_shuffle(%2) {groups=2} : f32[N,8,4,4] from "c"
      %4 = add(%3, %1) : f32[N,8,4,4] from "d"
      output "y" = %4
      """)
    var plan = try MemoryPlan(planning: graph)
    let (a, c) = (try value("a", in: graph), try value("c", in: graph))
    let offset = try #require(plan.placements[a]?.offset)
    plan.placements[c]?.offset = offset
    let error = #expect(throws: GraftError.self) { try plan.verify(for: graph) }
    #expect(error?.message.contains("[M3]") == true)
    plan = try MemoryPlan(planning: graph)
    plan.placements[c] = nil
    #expect(throws: GraftError.self) { try plan.verify(for: graph) }
    plan = try MemoryPlan(planning: graph)
    plan.aliases[c] = a
    #expect(throws: GraftError.self) { try plan.verify(for: graph) }
    plan = try MemoryPlan(planning: graph)
    plan.arenaBytesPerBatch -= 64
    #expect(throws: GraftError.self) { try plan.verify(for: graph) }
  }

  @Test func theScheduleFinishesOneBranchBeforeTheNext() throws {
    // In the file's order all four wide values live at once; one after the other, only two do.
    let branches = 4
    var text = ""
    for branch in 0..<branches {
      text +=
        "%\(10 + branch) = expand(%0) {shape=shape [N,8,4,4]} : f32[N,8,4,4] from \"wide\(branch)\"\n"
    }
    for branch in 0..<branches {
      text +=
        "%\(20 + branch) = global_average_pool(%\(10 + branch)) : f32[N,8,1,1] from \"mean\(branch)\"\n"
    }
    text += "%30 = concat(%20, %21, %22, %23) {axis=1} : f32[N,32,1,1] output \"y\" = %30"
    var graph = try graph(text)
    let before = graph
    let report = try graph.scheduleForMemory()
    #expect(report.bytesBefore == branches * bytes + 8 * 4)
    #expect(report.bytesAfter == bytes + branches * 8 * 4)
    #expect(report.order != "file")
    try graph.verify()
    #expect(Set(graph.nodes.map(\.origins)) == Set(before.nodes.map(\.origins)))
  }

  @Test func aChainKeepsTheOrderOfTheFile() throws {
    var graph = try graph(
      """
      %1 = channel_shuffle(%0) {groups=2} : f32[N,8,4,4] from "a"
      %2 = relu(%1) : f32[N,8,4,4] from "b"
      output "y" = %2
      """)
    let report = try graph.scheduleForMemory()
    #expect(report.order == "file" && report.bytesBefore == report.bytesAfter)
  }
}
