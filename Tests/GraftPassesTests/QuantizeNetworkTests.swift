// Networks on bytes: which layers, with how many conversions, and that they compute nearly the same.

import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftPasses

@Suite struct QuantizeNetworkTests {
  /// The range of every value of a graph over a batch of numbers.
  private func ranges(
    of graph: Graph, _ inputs: [String: HostTensor]
  ) throws -> [ValueID: ClosedRange<Float>] {
    var ranges: [ValueID: ClosedRange<Float>] = [:]
    func see(_ value: ValueID, _ tensor: HostTensor) {
      guard case .float32(let numbers) = tensor, let low = numbers.elements.min(),
        let high = numbers.elements.max()
      else { return }
      ranges[value] = low...high
    }
    var evaluator = ReferenceEvaluator(graph)
    _ = try evaluator.run(inputs) { see($0, $1) }
    for input in graph.inputs {
      if let name = graph[input].name, let tensor = inputs[name] { see(input, tensor) }
    }
    return ranges
  }

  private func image(_ shape: [Int]) throws -> [String: HostTensor] {
    var numbers = SplitMix(seed: 5)
    let elements = (0..<shape.reduce(1, *)).map { _ in Float(numbers.number(in: -1.0...1)) }
    return ["x": .float32(try DenseTensor(shape: shape, elements: elements))]
  }

  /// Quantizes the graph of `text`, and compares its output with the float32 one's.
  /// - Returns: the quantized graph and the largest difference as a share of the spread.
  private func quantized(
    _ text: String, shape: [Int], without missing: Set<String> = [],
    kept: (Graph) -> [NodeID: String] = { _ in [:] }
  ) throws -> (graph: Graph, error: Double, notes: [PassNote]) {
    let before = try graph(text)
    let inputs = try image(shape)
    var seen = try ranges(of: before, inputs)
    for value in before.allValues where missing.contains(before[value].name ?? "") {
      seen[value] = nil
    }
    var after = before
    let manager = PassManager([
      PipelineEntry(
        QuantizeNetwork(ranges: seen, kept: kept(before)), because: "this test is about it")
    ])
    let notes = try manager.run(&after).notes
    #expect(try Graph(parsing: after.text) == after)
    var (first, second) = (ReferenceEvaluator(before), ReferenceEvaluator(after))
    let expected = try #require(try first.run(inputs)["y"]?.doubles)
    let found = try #require(try second.run(inputs)["y"]?.doubles)
    let spread = (expected.max() ?? 0) - (expected.min() ?? 0)
    let error = zip(expected, found).map { abs($0 - $1) }.max() ?? 0
    var parts = ReferenceEvaluator(try decomposed(after))
    let exported = try #require(try parts.run(inputs)["y"]?.doubles)
    // A sum may be on the other side of a half.
    for (a, b) in zip(found, exported) { #expect(abs(a - b) <= 0.02 * spread) }
    return (after, error / spread, notes)
  }

  /// The graph as it is exported: operators on bytes as those on real numbers between conversions.
  private func decomposed(_ graph: Graph) throws -> Graph {
    var result = graph
    for node in graph.nodes {
      guard let value = try DecompositionBuilder.decompose(result[node.id], in: &result) else {
        continue
      }
      result.replaceUses(of: node.results[0], with: value)
      result.remove(node.id)
    }
    try result.verify()
    let bytes = result.nodes.filter { $0.opcode.rawValue.hasPrefix("quantized") }
    #expect(bytes.isEmpty)
    return result
  }

  private func count(_ opcode: Opcode, in graph: Graph) -> Int {
    graph.nodes.count { $0.opcode == opcode }
  }

  private let head = """
    %0 "x" = input : f32[N,3,8,8]
    %1 "w1" = parameter : f32[16,3,3,3]
    %2 "b1" = parameter : f32[16]
    %3 "w2" = parameter : f32[16,16,1,1]
    %4 "w3" = parameter : f32[16,1,3,3]
    %5 "w4" = parameter : f32[5,64]
    """

  /// One conversion at the beginning, none afterwards: a pool, a residual, a concatenation, a shape and a product lie
  /// between the sums.
  @Test func aWholeNetworkStaysOnBytes() throws {
    let text = graphText(
      head,
      """
      %6 = convolution(%0, %1, %2) {strides=[1, 1], pads=[1, 1, 1, 1], activation="relu"} : f32[N,16,8,8] from "first"
      %7 = max_pool(%6) {kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]} : f32[N,16,4,4] from "pool"
      %8 = convolution(%7, %3, _, %7) {strides=[1, 1], pads=[0, 0, 0, 0], activation="hard_swish"} : f32[N,16,4,4] from "residual"
      %9 = convolution(%8, %4) {strides=[2, 2], pads=[1, 1, 1, 1], groups=16, activation="clip", activation_parameters=f[0.0, 6.0]} : f32[N,16,2,2] from "depthwise"
      %10 = reshape(%9) {shape=shape [N,64]} : f32[N,64] from "flat"
      %11 = gemm(%10, %5) {transposes_b=true} : f32[N,5] from "head"
      output "y" = %11
      """)
    let result = try quantized(text, shape: [2, 3, 8, 8])
    #expect(count(QuantizedConvolution.opcode, in: result.graph) == 3)
    #expect(count(QuantizedGemm.opcode, in: result.graph) == 1)
    #expect(count(Quantize.opcode, in: result.graph) == 1)
    #expect(count(Dequantize.opcode, in: result.graph) == 0)
    #expect(count(Quantized.opcode, in: result.graph) == 1)
    #expect(count("convolution", in: result.graph) == 0)
    #expect(result.error < 0.03, "\(result.error)")
    #expect(result.error > 0)
  }

  /// What has no kernel on bytes reads real numbers, and what is concatenated shares one scale.
  @Test func conversionsStandWhereTheyMust() throws {
    let text = graphText(
      head,
      """
      %6 = convolution(%0, %1, %2) {strides=[1, 1], pads=[1, 1, 1, 1], activation="relu"} : f32[N,16,8,8] from "first"
      %7 = convolution(%6, %3) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,16,8,8] from "second"
      %8 = concat(%6, %7) {axis=1} : f32[N,32,8,8] from "both"
      %9 = slice(%8) {axes=[1], starts=[8], extents=[16], steps=[1]} : f32[N,16,8,8] from "part"
      %10 = convolution(%9, %3) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,16,8,8] from "third"
      %11 = softmax(%10) {axis=1} : f32[N,16,8,8] from "softmax"
      output "y" = %11
      """)
    let result = try quantized(text, shape: [2, 3, 8, 8])
    #expect(count(QuantizedConvolution.opcode, in: result.graph) == 3)
    #expect(count(Quantize.opcode, in: result.graph) == 1)
    #expect(count(Dequantize.opcode, in: result.graph) == 0)
    #expect(result.error < 0.1, "\(result.error)")
    let convolutions = try result.graph.nodes.compactMap {
      try Catalog.operation(of: $0) as? QuantizedConvolution
    }
    let zeros = convolutions.map(\.requantization.zero)
    #expect(zeros[0] != nil && zeros[0] == zeros[1] && zeros[2] == nil)
  }

  /// Layers that are kept, or whose input has no range, stay as they are, with the reason in the log.
  @Test func layersStayWide() throws {
    let text = graphText(
      head,
      """
      %6 "a" = convolution(%0, %1, %2) {strides=[1, 1], pads=[1, 1, 1, 1], activation="relu"} : f32[N,16,8,8] from "first"
      %7 "b" = convolution(%6, %3) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,16,8,8] from "second"
      %8 = convolution(%7, %3) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,16,8,8] from "third"
      output "y" = %8
      """)
    let kept = try quantized(text, shape: [2, 3, 8, 8]) { graph in
      graph.nodes.filter { $0.origins == ["second"] }.reduce(into: [:]) {
        $0[$1.id] = "quantizing it costs too much"
      }
    }
    #expect(count("convolution", in: kept.graph) == 1)
    #expect(count(Quantize.opcode, in: kept.graph) == 2)
    #expect(kept.notes.contains { $0.description.contains("quantizing it costs too much") })

    let unseen = try quantized(text, shape: [2, 3, 8, 8], without: ["a"])
    #expect(count("convolution", in: unseen.graph) == 1)
    #expect(
      unseen.notes.contains { $0.description.contains("\"second\": its input has no finite") })
  }

  /// Channels of zeros, and weights whose bias is far larger than all of their products.
  @Test func extremeWeights() throws {
    let text = graphText(
      head,
      """
      %6 = convolution(%0, %1, %2) {strides=[1, 1], pads=[1, 1, 1, 1], activation="relu"} : f32[N,16,8,8] from "first"
      %7 = convolution(%6, %3) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,16,8,8] from "second"
      output "y" = %7
      """)
    for (w, b) in [(0.0, 0.0), (0.0, 3.0), (1e-30, 1.0), (1e-12, -1e6)] {
      let before = try graph(text, constants: ["w1": [w], "b1": [b]])
      let inputs = try image([1, 3, 8, 8])
      var after = before
      let seen = try ranges(of: before, inputs)
      _ = try PassManager([
        PipelineEntry(QuantizeNetwork(ranges: seen), because: "this test is about it")
      ]).run(&after)
      var (first, second) = (ReferenceEvaluator(before), ReferenceEvaluator(after))
      let expected = try #require(try first.run(inputs)["y"]?.doubles)
      let found = try #require(try second.run(inputs)["y"]?.doubles)
      let size = expected.map(abs).max() ?? 0
      for (a, b) in zip(expected, found) {
        #expect(abs(a - b) <= 0.02 * size, "weights \(w), bias \(b): \(b), expected \(a)")
      }
    }
  }
}
