import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftONNX

@Suite("Fused operators as several ONNX ones")
struct ExportLoweringTests {
  /// Numbers that repeat only after a long while, of both signs.
  private func numbers(_ count: Int, from seed: Int) -> [Float] {
    (0..<count).map { Float(($0 &* 7919 &+ seed &* 104_729) % 2003 - 1001) / 500 }
  }

  private func parameter(_ graph: inout Graph, _ name: String, _ shape: [Int]) throws -> ValueID {
    let count = shape.reduce(1, *)
    return graph.addParameter(
      name, TensorType(.float32, TensorShape(shape)),
      Parameter(data: try TensorData(numbers(count, from: count), shape: shape)))
  }

  /// Exports a graph of one input `x` [N, 4, 3, 3], imports it, and expects the same numbers for a
  /// batch of two.
  private func expectSame(
    _ opcodes: [Opcode], sourceLocation: Testing.SourceLocation = #_sourceLocation,
    _ build: (inout Graph, ValueID) throws -> ValueID
  ) throws {
    var graph = Graph(name: "g")
    let x = graph.addInput("x", TensorType(.float32, [.batch, 4, 3, 3]))
    graph.outputs = [GraphOutput(name: "y", value: try build(&graph, x))]
    try graph.verify()
    var bytes: [UInt8] = []
    try ONNXExporter.write(graph) { bytes.append(contentsOf: $0) }
    let other = try ONNXImporter.importModel(from: MemoryBytes(bytes), path: "test.onnx").graph
    #expect(other.nodes.map(\.opcode) == opcodes, sourceLocation: sourceLocation)

    let input = HostTensor.float32(
      try DenseTensor(shape: [2, 4, 3, 3], elements: numbers(72, from: 1)))
    var evaluators = [graph, other].map { ReferenceEvaluator($0) }
    let expected = try #require(try evaluators[0].run(["x": input])["y"])
    let found = try #require(try evaluators[1].run(["x": input])["y"])
    #expect(expected.shape == found.shape, sourceLocation: sourceLocation)
    for (left, right) in zip(expected.doubles ?? [], found.doubles ?? [.nan]) {
      #expect(abs(left - right) <= 1e-5 * max(1, abs(left)), sourceLocation: sourceLocation)
    }
  }

  @Test("rounding to a narrower type is two casts")
  func rounding() throws {
    for dtype in [DataType.float16, .bfloat16] {
      var graph = Graph(name: "g")
      let x = graph.addInput("x", TensorType(.float32, [.batch, 4]))
      let rounding = try #require(RoundTo(dtype))
      graph.outputs = [GraphOutput(name: "y", value: try graph.append(rounding, [x])[0])]
      var bytes: [UInt8] = []
      try ONNXExporter.write(graph) { bytes.append(contentsOf: $0) }
      let model = try OpenModel(reading: MemoryBytes(bytes)).model
      #expect(model.graph.nodes.map(\.opType) == ["Cast", "Cast"])
      let targets = model.graph.nodes.map { node -> Int? in
        if case .int(let type)? = node.attribute("to")?.value { type } else { nil }
      }
      #expect(targets == [dtype.onnxCode, DataType.float32.onnxCode])
    }
  }

  @Test("a convolution with residual and activation")
  func convolution() throws {
    try expectSame(["convolution", "add", "hard_swish"]) { graph, x in
      let w = try parameter(&graph, "w", [4, 4, 3, 3])
      let bias = try parameter(&graph, "b", [4])
      let operation = Convolution(pads: [1, 1, 1, 1], activation: .hardSwish)
      return try graph.append(operation, [x, w, bias, x], origins: ["conv"])[0]
    }
  }

  @Test("one fused node after another")
  func chain() throws {
    try expectSame(["convolution", "relu", "convolution", "add", "sigmoid"]) { graph, x in
      let w = try parameter(&graph, "w", [4, 4, 1, 1])
      let first = try graph.append(
        Convolution(activation: .relu), [x, w], names: ["hidden"], origins: ["one"])[0]
      return try graph.append(
        Convolution(activation: .sigmoid), [first, w, nil, x], names: ["last"], origins: ["two"])[0]
    }
  }

  @Test("scale and shift for each channel")
  func scaleShift() throws {
    try expectSame(["unsqueeze", "unsqueeze", "mul", "add", "clip"]) { graph, x in
      let scale = try parameter(&graph, "scale", [4])
      let shift = try parameter(&graph, "shift", [4])
      let operation = ScaleShift(activation: .clip(low: -0.5, high: 1))
      return try graph.append(operation, [x, scale, shift], origins: ["bn"])[0]
    }
  }

  @Test("channel shuffle, silu, and an addition with a leaky activation")
  func others() throws {
    try expectSame(["reshape", "transpose", "reshape"]) { graph, x in
      try graph.append(ChannelShuffle(groups: 2), [x], origins: ["shuffle"])[0]
    }
    try expectSame(["sigmoid", "mul"]) { graph, x in
      try graph.append(Silu(), [x], origins: ["silu"])[0]
    }
    try expectSame(["add", "leaky_relu"]) { graph, x in
      try graph.append(Add(activation: .leakyRelu(alpha: 0.25)), [x, x], origins: ["sum"])[0]
    }
  }

  @Test("softmax over several axes, which ends with opset 12")
  func softmax() throws {
    try expectSame(["reshape", "softmax", "reshape"]) { graph, x in
      try graph.append(Softmax(axis: 1, flattens: true), [x], origins: ["prob"])[0]
    }
  }

  @Test("a shape that grows with the batch is computed from the input's")
  func batchShapes() throws {
    try expectSame(["expand", "add"]) { graph, x in
      let row = try parameter(&graph, "row", [1, 4, 1, 3])
      let wide = try graph.append(
        Expand(shape: [.batch, 4, 3, 3]), [row], origins: ["expand"])[0]
      return try graph.append(Add(), [x, wide], origins: ["sum"])[0]
    }
  }
}
