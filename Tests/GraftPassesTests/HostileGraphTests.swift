// Graphs that are legal, but that no exporter would write: passes must neither trap nor hang on them.

import GraftCodegen
import GraftDiagnostics
import GraftIR
import Testing

@testable import GraftPasses

@Suite struct HostileGraphTests {
  @Test(arguments: [
    // Nothing in the batch, then nothing at all.
    "%0 \"x\" = input : f32[0,8,4,4] %1 = relu(%0) : f32[0,8,4,4] output \"y\" = %1",
    "%0 \"x\" = input : f32[N,0,4,4] %1 = concat(%0, %0) {axis=1} : f32[N,0,4,4] output \"y\" = %1",
    "%0 \"x\" = input : f32[] %1 = transpose(%0) {permutation=[]} : f32[] output \"y\" = %1",
    // The input is the output.
    "%0 \"x\" = input : f32[N,8,4,4] output \"y\" = %0 output \"z\" = %0",
    "%0 \"x\" = input : f32[N,8] %1 = identity(%0) : f32[N,8] output \"y\" = %1 output \"z\" = %1",
    // Extents whose products do not fit into an integer.
    """
    %0 "x" = input : f32[1,2,1,1]
    %1 = pad(%0) {pads=[0, 17179869184, 0, 0, 0, 17179869184, 0, 0]} : f32[1,34359738370,1,1]
    output "y" = %1
    """,
    """
    %0 "x" = input : f32[N,8,1,1]
    %1 = slice(%0) {axes=[2, 3], starts=[0, 0], extents=[1, 1], steps=[1, 1]} : f32[N,8,1,1]
    %2 = pad(%1) {pads=[0, 8, 0, 0, 0, 0, 0, 0]} : f32[N,16,1,1]
    output "y" = %2
    """,
    """
    %0 "x" = input : f32[N,8,4,4]
    %1 "w" = parameter : f32[8,8,1,1]
    %2 = convolution(%0, %1) {strides=[1048576, 1048576], pads=[1048576, 0, 0, 1048576]} : f32[N,8,2,2]
    output "y" = %2
    """,
    // Everything on one value.
    """
    %0 "x" = input : f32[N,8,4,4]
    %1 = mul(%0, %0) : f32[N,8,4,4]
    %2 = sub(%1, %1) {activation="relu"} : f32[N,8,4,4]
    %3 = div(%2, %2) : f32[N,8,4,4]
    output "y" = %3
    """,
  ])
  func neitherTrapNorHang(text: String) throws {
    var graph = try graph("graph \"g\" {\n\(text)\n}")
    do {
      _ = try PassManager(Pipeline.inference).run(&graph)
      _ = try PassManager(Pipeline.layout, costs: KernelCostModel(target: .x8664v3)).run(&graph)
      try graph.verify()
    } catch let error as GraftError {
      Issue.record("refused: \(error)")
    }
  }

  @Test func aLongChainIsNoTrouble() throws {
    var text = "%0 \"x\" = input : f32[N,8]\n"
    for index in 1...800 {
      text +=
        "%\(index) = \(index.isMultiple(of: 2) ? "tanh" : "identity")(%\(index - 1)) : f32[N,8]\n"
    }
    var graph = try Graph(parsing: "graph \"g\" {\n\(text) output \"y\" = %800 }")
    _ = try PassManager(Pipeline.inference).run(&graph)
    #expect(graph.nodeCount == 400)
  }
}
