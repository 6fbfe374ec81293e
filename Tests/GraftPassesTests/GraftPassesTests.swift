// What holds of the manager, and of all passes and pipelines together.

import GraftCodegen
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftPasses

@Suite struct PassManagerTests {
  private struct Vandal: Pass {
    static let name = "vandal"
    static let summary = "gives a value a wrong type"
    func run(_ graph: inout Graph, _ context: inout PassContext) throws {
      let result = try #require(graph.nodes.first?.results.first)
      graph[result].type.shape = [.batch, 5]
    }
  }

  private struct ForInference: Pass {
    static let name = "for-inference"
    static let summary = "takes the last node away"
    static let modes: Set<PassMode> = [.inference]
    func run(_ graph: inout Graph, _ context: inout PassContext) throws {
      context.did("shortened by one at \(context.costs?.lanes ?? 1) lanes")
      context.left("the rest", because: "it is wanted")
      context.left("the rest", because: "it is wanted")
      let last = try #require(graph.nodes.last)
      graph.bypass(last, with: try #require(last.operand(0)))
    }
  }

  private func chain() throws -> Graph {
    try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : f32[N,4]
          %1 = relu(%0) : f32[N,4] from "first"
          %2 = tanh(%1) : f32[N,4] from "second"
          output "y" = %2
        }
        """)
  }

  @Test func aPassThatBreaksTheGraphIsNamed() throws {
    var graph = try chain()
    let error = #expect(throws: GraftError.self) {
      try PassManager([PipelineEntry(Vandal(), because: "it is about errors")]).run(&graph)
    }
    #expect(error?.kind == .inconsistency)
    #expect(error?.description.contains("after the pass vandal") == true)
    #expect(error?.location.node == "first")
  }

  @Test func aBrokenGraphIsRefusedBeforeTheFirstPass() throws {
    var graph = try Graph(
      parsing: "graph \"g\" { %0 \"x\" = input : f32[N,4] %1 = nonsense(%0) : f32[N,4] }")
    let error = #expect(throws: GraftError.self) { try PassManager([]).run(&graph) }
    #expect(error?.kind == .invalidGraph)
  }

  @Test func recordsNotesAndGraphs() throws {
    var graph = try chain()
    let manager = PassManager(
      [
        PipelineEntry(ForInference(), because: "once"),
        PipelineEntry(ForInference(), because: "twice"),
      ], costs: KernelCostModel(target: .x8664v4), keepsGraphs: true)
    let report = try manager.run(&graph)
    #expect(report.records.map(\.nodesBefore) == [2, 1])
    #expect(report.records.map(\.nodesAfter) == [1, 0])
    #expect(report.records.allSatisfy { $0.ran && $0.seconds >= 0 })
    #expect(report.graph(after: "for-inference") == graph)
    #expect(report.graph(after: "another") == nil)
    #expect(
      report.notes.map(\.description) == [
        "for-inference: shortened by one at 16 lanes", "for-inference: left the rest: it is wanted",
        "for-inference: shortened by one at 16 lanes",
      ])
  }

  @Test func aPassIsSkippedInAModeThatItDoesNotServe() throws {
    var graph = try chain()
    let before = graph
    let manager = PassManager(
      [PipelineEntry(ForInference(), because: "it does not apply")], mode: .training,
      keepsGraphs: true)
    let report = try manager.run(&graph)
    #expect(graph == before)
    #expect(report.records.map(\.ran) == [false] && report.notes.isEmpty)
  }

  @Test func namesMoveToTheValueThatHoldsTheElements() throws {
    var graph = try Graph(
      parsing: """
        graph "g" {
          %0 "x" = input : f32[N,4]
          %1 = relu(%0) : f32[N,4] from "first"
          %2 "tap" = identity(%1) : f32[N,4] from "second"
          %3 = tanh(%2) : f32[N,4] from "third"
          output "y" = %3
        }
        """)
    _ = try PassManager(Pipeline.inference).run(&graph)
    let relu = try #require(graph.nodes.first)
    #expect(graph[relu.results[0]].name == "tap")
    #expect(relu.origins == ["first", "second"])
  }
}

@Suite struct PipelineTests {
  @Test func namesAreKebabCaseAndReasonsAreGiven() {
    for entry in Pipeline.inference + Pipeline.layout {
      #expect(entry.name.allSatisfy { $0.isLowercase || $0 == "-" }, "\(entry.name)")
      #expect(!entry.because.isEmpty)
      #expect(!type(of: entry.pass).summary.isEmpty)
    }
    #expect(Set(Pipeline.passNames).count == Pipeline.passNames.count)
    #expect(Pipeline.passNames.last == AssignLayout.name)
  }

  private func check(_ name: String, _ text: String) throws {
    let before = try graph(text)
    var after = before
    var report = try PassManager(Pipeline.inference).run(&after)
    report.append(
      try PassManager(Pipeline.layout, costs: KernelCostModel(target: .x8664v3)).run(&after))
    let log = report.notes.map { "// \($0)\n" }.joined()
    try expectGolden("\(before.text)\n\(log)\(after.text)", "pipeline-\(name).ir")
    try expectSameOutputs(before, after, tolerance: 2e-5)
    let left = Set(after.nodes.map(\.opcode.rawValue))
    for gone in ["batch_normalization", "identity", "dropout", "relu", "flatten"] {
      #expect(!left.contains(gone), "\(gone) is left")
    }
    #expect(try Graph(parsing: after.text) == after)
    var again = after
    _ = try PassManager(Pipeline.layout, costs: KernelCostModel(target: .x8664v3)).run(&again)
    #expect(again.text == after.text)
  }

  @Test func residualNetwork() throws {
    try check(
      "residual",
      """
      graph "g" {
        %0 "x" = input : f32[N,3,8,8]
        %1 "conv1.weight" = parameter : f32[8,3,3,3]
        %2 "bn.weight" = parameter : f32[8]
        %3 "bn.bias" = parameter : f32[8]
        %4 "bn.mean" = parameter : f32[8]
        %5 "bn.var" = parameter : f32[8]
        %6 "conv2.weight" = parameter : f32[8,8,3,3]
        %7 "fc.weight" = parameter : f32[5,8]
        %8 "fc.bias" = parameter : f32[5]
        %10 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv1"
        %11 = batch_normalization(%10, %2, %3, %4, %5) {epsilon=1e-05} : f32[N,8,8,8] from "bn1"
        %12 = relu(%11) : f32[N,8,8,8] from "relu1"
        %13 = convolution(%12, %6) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv2"
        %14 = batch_normalization(%13, %2, %3, %4, %5) {epsilon=1e-05} : f32[N,8,8,8] from "bn2"
        %15 = identity(%14) : f32[N,8,8,8] from "identity"
        %16 = add(%15, %12) : f32[N,8,8,8] from "add"
        %17 = relu(%16) : f32[N,8,8,8] from "relu2"
        %18 = reduce_mean(%17) {axes=[2, 3]} : f32[N,8,1,1] from "mean"
        %19 = flatten(%18) {axis=1} : f32[N,8] from "flatten"
        %20 = dropout(%19) {ratio=0.5} : f32[N,8] from "dropout"
        %21 = gemm(%20, %7, %8) {transposes_b=true} : f32[N,5] from "fc"
        output "logits" = %21
      }
      """)
  }

  @Test func channelsLastNetwork() throws {
    try check(
      "channels-last",
      """
      graph "g" {
        %0 "x" = input : f32[N,8,8,3]
        %1 "w1" = parameter : f32[8,3,3,3]
        %2 "b1" = parameter : f32[8]
        %3 "w2" = parameter : f32[8,8,1,1]
        %4 "fc" = parameter : f32[8,5]
        %5 "fc.bias" = parameter : f32[5]
        %10 = transpose(%0) {permutation=[0, 3, 1, 2]} : f32[N,3,8,8] from "t1"
        %11 = convolution(%10, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv1"
        %12 = transpose(%11) {permutation=[0, 2, 3, 1]} : f32[N,8,8,8] from "t2"
        %13 = add(%12, %2) : f32[N,8,8,8] from "bias"
        %14 = relu(%13) : f32[N,8,8,8] from "relu1"
        %15 = transpose(%14) {permutation=[0, 3, 1, 2]} : f32[N,8,8,8] from "t3"
        %16 = convolution(%15, %3) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,8,8,8] from "conv2"
        %17 = transpose(%16) {permutation=[0, 2, 3, 1]} : f32[N,8,8,8] from "t4"
        %18 = add(%17, %14) : f32[N,8,8,8] from "add"
        %19 = relu(%18) : f32[N,8,8,8] from "relu2"
        %20 = reduce_mean(%19) {axes=[1, 2], keeps_axes=false} : f32[N,8] from "mean"
        %21 = matmul(%20, %4) : f32[N,5] from "fc"
        %22 = add(%21, %5) : f32[N,5] from "fc.bias"
        %23 = softmax(%22) {axis=1} : f32[N,5] from "softmax"
        output "y" = %23
      }
      """)
  }
}
