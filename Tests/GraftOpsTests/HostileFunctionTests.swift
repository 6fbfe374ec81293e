// Random attributes, types and constants thrown at ONNX operators that are made of others: what does not fit must
// throw.

import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@Suite struct HostileFunctionTests {
  private struct Sample {
    var opType: String
    var attributes: [String: ONNXAttributeValue] = [:]
    var shapes: [[Int]] = []
    var constants: [[Int]] = []
    var dtype = DataType.float32
    var outputs = 1
  }

  private static let samples: [Sample] = [
    Sample(
      opType: "GridSample",
      attributes: [
        "mode": .string("cubic"), "padding_mode": .string("reflection"), "align_corners": .int(1),
      ], shapes: [[2, 2, 4, 3], [2, 3, 2, 2]]),
    Sample(opType: "GridSample", shapes: [[2, 2, 4, 3, 2], [2, 3, 2, 2, 3]]),
    Sample(
      opType: "MaxPool",
      attributes: [
        "kernel_shape": .ints([3, 2]), "pads": .ints([1, 0, 1, 1]), "strides": .ints([2, 1]),
        "dilations": .ints([1, 2]), "ceil_mode": .int(1), "storage_order": .int(1),
      ], shapes: [[2, 2, 4, 5]], outputs: 2),
    Sample(
      opType: "MaxPool",
      attributes: ["kernel_shape": .ints([2, 2]), "pads": .ints([1, 0, 1, 1])],
      shapes: [[2, 2, 4, 5]], dtype: .uint8),
    Sample(
      opType: "Col2Im",
      attributes: [
        "pads": .ints([1, 0, 0, 1]), "strides": .ints([1, 1]), "dilations": .ints([1, 1]),
      ], shapes: [[2, 8, 12]], constants: [[3, 4], [2, 2]]),
    Sample(
      opType: "DeformConv",
      attributes: ["pads": .ints([1, 0, 1, 0]), "group": .int(1), "offset_group": .int(1)],
      shapes: [[1, 2, 4, 4], [3, 2, 2, 2], [1, 8, 5, 3], [3], [1, 4, 5, 3]]),
    Sample(
      opType: "ConvTranspose",
      attributes: [
        "strides": .ints([2, 1, 2]), "pads": .ints([1, 0, 0, 1, 1, 0]), "group": .int(1),
        "dilations": .ints([1, 1, 1]), "output_padding": .ints([1, 0, 0]),
      ], shapes: [[1, 2, 3, 2, 2], [2, 2, 2, 3, 2], [2]]),
    Sample(
      opType: "CumProd", attributes: ["exclusive": .int(1), "reverse": .int(0)], shapes: [[2, 5]],
      constants: [[1]]),
    Sample(opType: "CumSum", shapes: [[2, 5]], constants: [[1]], dtype: .int64),
    Sample(
      opType: "RandomUniform",
      attributes: ["shape": .ints([2, 3]), "low": .float(0), "high": .float(2), "dtype": .int(1)]),
    Sample(
      opType: "RandomNormalLike", attributes: ["mean": .float(0), "seed": .float(2)],
      shapes: [[2, 3]]),
    Sample(
      opType: "Multinomial", attributes: ["sample_size": .int(3), "dtype": .int(7)],
      shapes: [[2, 3]]),
    Sample(opType: "Bernoulli", attributes: ["dtype": .int(9)], shapes: [[2, 3]]),
    Sample(opType: "NonZero", constants: [[1, 0, 2]]),
    Sample(
      opType: "QuantizeLinear",
      attributes: ["axis": .int(1), "block_size": .int(2), "output_dtype": .int(3)],
      shapes: [[2, 4], [2, 2]]),
    Sample(opType: "QuantizeLinear", attributes: ["axis": .int(1)], shapes: [[2, 4], [4]]),
    Sample(opType: "DynamicQuantizeLinear", shapes: [[2, 4]]),
    Sample(opType: "MatMulInteger", shapes: [[2, 300], [300, 4], [2], [4]], dtype: .uint8),
    Sample(
      opType: "ConvInteger",
      attributes: ["pads": .ints([1, 0, 0, 1]), "strides": .ints([2, 1]), "group": .int(1)],
      shapes: [[2, 40, 5, 4], [3, 40, 3, 3], [1], [3]], dtype: .int8),
    Sample(
      opType: "ReverseSequence", attributes: ["batch_axis": .int(0), "time_axis": .int(1)],
      shapes: [[2, 3]], constants: [[1, 2]]),
    Sample(opType: "Det", shapes: [[2, 3, 3]]),
    Sample(
      opType: "CausalConvWithState", attributes: ["activation": .string("silu")],
      shapes: [[2, 3, 5], [3, 1, 3], [3], [2, 3, 2]]),
    Sample(
      opType: "TensorScatter", attributes: ["axis": .int(1), "mode": .string("circular")],
      shapes: [[2, 5, 3], [2, 2, 3]], constants: [[1, 2]]),
    Sample(opType: "IsInf", attributes: ["detect_positive": .int(0)], shapes: [[2, 3]]),
    Sample(opType: "Swish", attributes: ["alpha": .float(2)], shapes: [[2, 3]]),
    Sample(opType: "SwiGLU", attributes: ["alpha": .float(2)], shapes: [[2, 3], [2, 3]]),
    Sample(opType: "Hardmax", attributes: ["axis": .int(1)], shapes: [[2, 3]]),
    Sample(
      opType: "Conv",
      attributes: [
        "group": .int(2), "pads": .ints([1, 0, 0, 1, 1, 0]), "strides": .ints([2, 1, 2]),
      ], shapes: [[1, 4, 3, 2, 2], [2, 2, 2, 2, 2], [2]]),
    Sample(
      opType: "RotaryEmbedding", attributes: ["interleaved": .int(1)],
      shapes: [[2, 3, 4, 8], [2, 4, 4], [2, 4, 4]]),
    Sample(
      opType: "Attention", attributes: ["is_causal": .int(1), "left_window_size": .int(2)],
      shapes: [[2, 3, 4, 8], [2, 3, 5, 8], [2, 3, 5, 8], [4, 5]]),
    Sample(opType: "Compress", shapes: [[3, 2]], constants: [[1, 0, 1]]),
  ]

  @Test func noFunctionTraps() throws {
    var random = SplitMix(seed: 3)
    var accepted: [String: Int] = [:]
    for round in 0..<5_000 {
      let sample = Self.samples[round % Self.samples.count]
      var node = ONNXNode(
        opType: sample.opType,
        opset: random.isOne(in: 2) ? 28 : Int.random(in: 7...28, using: &random),
        attributes: sample.attributes, inputs: [], outputCount: sample.outputs)
      for name in node.attributes.keys.sorted() where random.isOne(in: 4) {
        node.attributes[name] = random.onnxAttribute(like: node.attributes[name])
      }
      node.inputs = sample.shapes.map {
        ONNXNode.Input(type: TensorType(sample.dtype, TensorShape($0)))
      }
      for index in node.inputs.indices {
        if random.isOne(in: 6), let rank = node.inputs[index]?.type.rank, rank > 0 {
          node.inputs[index]?.type.shape[Int.random(in: 0..<rank, using: &random)] =
            random.dimension()
        }
        if random.isOne(in: 12) { node.inputs[index]?.type.shape = random.shape() }
        if random.isOne(in: 16) { node.inputs[index]?.type.dtype = random.dtype() }
      }
      for elements in sample.constants {
        let changed = elements.map { random.isOne(in: 8) ? random.integer() : $0 }
        let shape = [changed.count]
        node.inputs.append(
          ONNXNode.Input(
            type: TensorType(.int64, TensorShape(shape)),
            integers: try DenseTensor(shape: shape, elements: changed.map { Dimension($0) }),
            data: random.isOne(in: 8)
              ? nil : try TensorData(changed.map { Int64($0) }, shape: shape)))
      }
      if random.isOne(in: 16) { node.inputs = node.inputs.dropLast() }
      // The importer has bounded every extent.
      let isPossible = node.inputs.allSatisfy { input in
        guard let shape = input?.type.shape else { return true }
        return (try? shape.extents(batch: 1)) != nil
          && shape.dimensions.allSatisfy { $0.coefficient >= 0 }
      }
      guard isPossible, let function = ONNXFunction.find(node.opType, opset: node.opset) else {
        continue
      }
      var builder = FunctionBuilder(node)
      do {
        if try function.build(&builder) != nil { accepted[node.opType, default: 0] += 1 }
      } catch is GraftError {}
    }
    for sample in Self.samples {
      #expect(accepted[sample.opType, default: 0] >= 10, "\(sample.opType)")
    }
  }

  /// What once ended the process.
  @Test func whatCannotBeIsRefused() throws {
    func refused(
      _ opType: String, _ attributes: [String: ONNXAttributeValue] = [:],
      _ inputs: [ONNXNode.Input?], because reason: String
    ) throws {
      let node = ONNXNode(
        opType: opType, opset: 28, attributes: attributes, inputs: inputs, outputCount: 1)
      let function = try #require(ONNXFunction.find(opType, opset: 28))
      var builder = FunctionBuilder(node)
      let error = #expect(throws: GraftError.self) { _ = try function.build(&builder) }
      #expect(error?.message.contains(reason) == true, "\(opType): \(error?.message ?? "")")
    }
    func tensor(_ shape: TensorShape, _ dtype: DataType = .float32) -> ONNXNode.Input {
      ONNXNode.Input(type: TensorType(dtype, shape))
    }
    func vector(_ elements: [Int]) throws -> ONNXNode.Input {
      ONNXNode.Input(
        type: TensorType(.int64, [Dimension(elements.count)]),
        integers: try DenseTensor(
          shape: [elements.count], elements: elements.map { Dimension($0) }),
        data: try TensorData(elements.map(Int64.init), shape: [elements.count]))
    }
    for opType in ["IsInf", "Swish"] {
      try refused(
        opType, ["alpha": .float(.nan)], [tensor([2], .int32)], because: "floating-point tensor")
    }
    try refused("AffineGrid", [:], [tensor([]), vector([1, 1, 2, 2])], because: "a grid")
    try refused(
      "Conv", ["group": .int(.max)], [tensor([1, 2, 3, 3, 3]), tensor([2, 2, 1, 1, 1])],
      because: "do not match weights")
    try refused(
      "Conv", [:], [tensor([1, 2, 1_048_576, 1, 1]), tensor([2, 2, 1_048_576, 1, 1])],
      because: "a kernel of 1048576 slices")
    let heads = tensor([2, 3, 4, 8])
    try refused(
      "Attention", [:], [heads, heads, heads, nil, nil, nil, tensor([], .int64)],
      because: "nonpad_kv_seqlen")
    try refused(
      "RotaryEmbedding", [:], [heads, tensor([]), tensor([]), vector([0])],
      because: "no table of angles")
    try refused(
      "Col2Im",
      [
        "strides": .ints(Array(repeating: 1 << 20, count: 5)),
        "pads": .ints(Array(repeating: 0, count: 10)),
      ],
      [tensor([1, 1, 1]), vector(Array(repeating: 1 << 20, count: 5)), vector([1, 1, 1, 1, 1])],
      because: "an image of")
    for opType in ["Hardmax", "Trilu", "EyeLike"] {
      let (rows, columns) = opType == "Hardmax" ? (1, 1 << 34) : (1 << 34, 0)
      try refused(
        opType, [:], [tensor([Dimension(rows), Dimension(columns)])], because: "17179869184")
    }
    try refused(
      "Compress", ["axis": .int(0)], [tensor([2, 2]), vector([0, 0, 1])], because: "element 2")
    try refused(
      "ReverseSequence", [:], [tensor([4, 2]), vector([5, 1])], because: "length 5")
  }
}
