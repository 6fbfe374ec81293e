// Weights that are no constants: whatever an operator does with weights from packed.bin, it does with the
// same weights handed in while it runs, to the last bit.

import Foundation
import GraftCodegen
import GraftIR
import GraftOps
import GraftRuntime
import Testing

@Suite struct ComputedWeightTests {
  /// `graph` with every parameter but integers as an input of the same name, and what to give for it.
  static func withParametersAsInputs(
    _ graph: Graph
  ) throws -> (graph: Graph, given: [[Float]]) {
    var result = Graph(name: graph.name)
    var values: [ValueID: ValueID] = [:]
    var given: [[Float]] = []
    for input in graph.inputs {
      values[input] = result.addInput(graph[input].name ?? "", graph.type(of: input))
    }
    for id in graph.parameters {
      let parameter = try #require(graph[id].parameter)
      values[id] = result.addInput(graph[id].name ?? "", graph.type(of: id))
      given.append(try #require(parameter.data).floats())
    }
    for node in graph.nodes {
      let results = result.addNode(
        node.opcode, node.operands.map { $0.flatMap { values[$0] } }, node.attributes,
        types: node.results.map { graph.type(of: $0) }, origins: node.origins)
      for (old, new) in zip(node.results, results) { values[old] = new }
    }
    for output in graph.outputs {
      result.outputs.append(
        GraftIR.GraphOutput(name: output.name, value: try #require(values[output.value])))
    }
    return (result, given)
  }

  /// Runs the harness's graph with constants and with inputs and wants the same bits.
  static func compare(_ harness: inout KernelHarness, batch: Int = 2) throws {
    let (computed, given) = try withParametersAsInputs(harness.graph)
    var plain: [[Float]] = []
    for input in harness.graph.inputs {
      let count = try harness.graph.type(of: input).shape.extents(batch: batch).reduce(1, *)
      plain.append((0..<count).map { _ in harness.random.float() })
    }
    func run(_ graph: Graph, _ inputs: [[Float]], threads: Int) throws -> [[UInt32]] {
      let folder = try KernelHarness.build(
        graph, target: harness.target, convolutions: harness.convolutions)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let library = try ModelLibrary(path: folder + "/libmodel.so")
      let session = try LoadedModel(
        library: library, bundle: folder, largestBatch: batch, threads: threads)
      // Twice, so that the workspace holds what the last node left there.
      _ = try session.run(batch: batch, inputs: inputs)
      return try session.run(batch: batch, inputs: inputs).map { $0.map(\.bitPattern) }
    }
    let expected = try run(harness.graph, plain, threads: 1)
    let found = try run(computed, plain + given, threads: 2)
    #expect(expected.count == found.count)
    for (output, pair) in zip(harness.graph.outputs, zip(expected, found)) {
      let line = harness.graph.producer(of: output.value).map { harness.graph.line(of: $0) } ?? ""
      #expect(pair.0 == pair.1, "\(output.name): \(line)")
    }
  }

  @Test(arguments: [Target.native, .generic]) func convolutions(target: Target) throws {
    var harness = KernelHarness(seed: 21, target: target)
    let cases = [
      ConvolutionKernelTests.Case(
        channels: 3, height: 13, width: 11, outputs: 20, kernel: [3, 3], pads: [1, 1, 1, 1],
        isPlanar: true),
      .init(
        channels: 40, height: 9, width: 7, outputs: 37, kernel: [3, 3], pads: [1, 1, 1, 1],
        hasResidual: true, activation: .relu),
      .init(channels: 600, height: 5, width: 5, outputs: 24, kernel: [1, 1]),
      .init(channels: 300, height: 6, width: 6, outputs: 70, kernel: [3, 2], strides: [2, 1]),
      .init(
        channels: 12, height: 9, width: 9, outputs: 18, kernel: [3, 3], pads: [1, 1, 1, 1],
        groups: 3),
      .init(
        channels: 64, height: 6, width: 6, outputs: 64, kernel: [3, 3], pads: [1, 1, 1, 1],
        groups: 16),
      .init(
        channels: 32, height: 6, width: 6, outputs: 96, kernel: [1, 3], pads: [0, 1, 0, 1],
        groups: 2),
      .init(
        channels: 21, height: 8, width: 9, outputs: 21, kernel: [5, 3], pads: [2, 1, 2, 1],
        groups: 21),
    ]
    for test in cases { try ConvolutionKernelTests.add(test, to: &harness) }
    try Self.compare(&harness)
  }

  @Test(arguments: [5, 6]) func randomConvolutions(seed: UInt64) throws {
    var harness = KernelHarness(seed: seed)
    for _ in 0..<10 {
      let kernel = [harness.random.int(1...4), harness.random.int(1...4)]
      let groups = [1, 1, harness.random.int(2...6)][harness.random.int(0...2)]
      let channels = groups * harness.random.int(1...12)
      try ConvolutionKernelTests.add(
        .init(
          channels: channels, height: kernel[0] + harness.random.int(0...6),
          width: kernel[1] + harness.random.int(0...6),
          outputs: groups * harness.random.int(1...30), kernel: kernel, groups: groups,
          isPlanar: groups == 1 && harness.random.int(0...1) == 0,
          hasBias: harness.random.int(0...1) == 0, resultBorder: (1, 1)), to: &harness)
    }
    try Self.compare(&harness)
  }

  @Test func matrices() throws {
    var harness = KernelHarness(seed: 22)
    for (inputs, outputs) in [(1, 1), (7, 10), (33, 100), (700, 37), (64, 300)] {
      let x = harness.input([.batch, Dimension(inputs)])
      let w = try harness.parameter([inputs, outputs])
      let transposed = try harness.parameter([outputs, inputs])
      let bias = try harness.parameter([outputs])
      try harness.output(try harness.apply(Gemm(activation: .relu), [x, w, bias])[0])
      try harness.output(
        try harness.apply(Gemm(alpha: 0.5, beta: 2, transposesB: true), [x, transposed, bias])[0])
      let row = try harness.parameter([1, outputs])
      try harness.output(try harness.apply(Gemm(transposesB: true), [x, transposed, row])[0])
      try harness.output(try harness.apply(MatrixMultiply(), [x, w])[0])
    }
    try Self.compare(&harness, batch: 7)
  }

  @Test func channelVectors() throws {
    var harness = KernelHarness(seed: 23)
    for channels in [3, 16, 21] {
      let image = try harness.image([channels, 4, 5], border: (1, 0))
      let vectors = try (0..<2).map { _ in try harness.parameter([channels]) }
      try harness.output(
        try harness.apply(
          ScaleShift(activation: .relu), [image] + vectors,
          layout: harness.blocked(border: (0, 1)))[0])
      for shape in [[1, channels, 1, 1], [channels, 1, 1], [1]] {
        try harness.output(
          try harness.apply(
            Multiply(activation: .none), [image, try harness.parameter(shape)],
            layout: harness.blocked)[0])
      }
      let plain = harness.input([.batch, Dimension(channels), 6])
      try harness.output(try harness.apply(ScaleShift(), [plain] + vectors)[0])
    }
    try Self.compare(&harness)
  }

  /// Stored statistics that are trained beside everything else.
  @Test func normalizationWithComputedStatistics() throws {
    var harness = KernelHarness(seed: 24)
    for channels in [5, 16, 21] {
      var vectors: [ValueID] = []
      for name in ["scale", "bias", "mean", "variance"] {
        let vector = harness.graph.addInput(
          harness.graph.unusedName(name), TensorType(.float32, [Dimension(channels)]))
        vectors.append(
          name == "variance"
            ? try harness.apply(Power(exponent: 2), [vector], layout: .plain)[0] : vector)
      }
      let image = try harness.image([channels, 3, 5], border: (0, 1))
      let normalization = BatchNormalization(epsilon: 1e-3)
      try harness.output(
        try harness.apply(
          normalization, [image] + vectors, layout: harness.blocked(border: (1, 0)))[0])
      let plain = harness.input([.batch, Dimension(channels), 3, 2])
      try harness.output(try harness.apply(normalization, [plain] + vectors)[0])
      let rows = harness.input([.batch, Dimension(channels)])
      try harness.output(try harness.apply(normalization, [rows] + vectors)[0])
    }
    try harness.check(tolerance: 1e-6)
  }
}
