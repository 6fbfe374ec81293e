// What ONNX's operators on quantized numbers become: operators on bytes where scales are known, arithmetic otherwise,
// and an error for what cannot be meant.

import GraftDiagnostics
import GraftIR
import GraftOps
import Testing

@Suite struct QuantizedFunctionTests {
  private func constant(_ numbers: [Double], _ dtype: DataType, isScalar: Bool = false) throws
    -> ONNXNode.Input
  {
    let data = try TensorData(packing: numbers, as: dtype, shape: isScalar ? [] : [numbers.count])
    return ONNXNode.Input(type: TensorType(dtype, TensorShape(data.shape)), data: data)
  }

  /// The operators of which the function is made, for an image of 4 channels, or weights of integers.
  private func opcodes(
    _ opType: String, _ x: ONNXNode.Input, scale: [Double], zero: [Double]?,
    _ dtype: DataType = .uint8, _ attributes: [String: ONNXAttributeValue] = [:]
  ) throws -> [String] {
    let function = try #require(ONNXFunction.find(opType, opset: 17))
    var inputs: [ONNXNode.Input?] = [
      x, try constant(scale, .float32, isScalar: scale.count == 1),
    ]
    if let zero { inputs.append(try constant(zero, dtype, isScalar: zero.count == 1)) }
    var builder = FunctionBuilder(
      ONNXNode(opType: opType, opset: 17, attributes: attributes, inputs: inputs, outputCount: 1))
    _ = try function.build(&builder)
    return builder.steps.map { type(of: $0.operation).opcode.rawValue }
  }

  private let image = ONNXNode.Input(type: TensorType(.float32, [.batch, 4, 2, 2]))
  private let bytes = ONNXNode.Input(type: TensorType(.uint8, [.batch, 4, 2, 2]))
  private let signed = ONNXNode.Input(type: TensorType(.int8, [.batch, 4, 2, 2]))

  @Test func knownScalesAreOperatorsOnBytes() throws {
    #expect(try opcodes("QuantizeLinear", image, scale: [0.5], zero: [3]) == ["quantize"])
    #expect(try opcodes("QuantizeLinear", image, scale: [0.5], zero: nil) == ["quantize"])
    #expect(try opcodes("QuantizeLinear", image, scale: [0.5], zero: [-3], .int8) == ["quantize"])
    #expect(try opcodes("DequantizeLinear", bytes, scale: [0.5], zero: [3]) == ["dequantize"])
    #expect(
      try opcodes("DequantizeLinear", signed, scale: [0.5], zero: [-3], .int8) == ["dequantize"])
    let weights = try constant([1, 2, 3], .int8)
    for (scale, zero) in [([0.5], [0.0]), ([0.5, 0, 1], [1, 2, 3])] {
      #expect(
        try opcodes("DequantizeLinear", weights, scale: scale, zero: zero, .int8, ["axis": .int(0)])
          == ["dequantize_weights"])
    }
    // A constant is quantized at once.
    #expect(
      try opcodes("QuantizeLinear", constant([1, 2], .float32), scale: [0.5], zero: [3]).isEmpty)
  }

  @Test func otherScalesAreArithmetic() throws {
    for scale in [[-0.5], [1e-40], [0.1, 0.2, 0.3, 0.4]] {
      let made = try opcodes("QuantizeLinear", image, scale: scale, zero: [3])
      #expect(made.contains("div") && !made.contains("quantize"), "\(scale)")
      let back = try opcodes("DequantizeLinear", bytes, scale: scale, zero: [3])
      #expect(back.contains("mul") && !back.contains("dequantize"), "\(scale)")
    }
    let back = try opcodes("DequantizeLinear", bytes, scale: [0], zero: [3])
    #expect(back.contains("mul"))
  }

  @Test(arguments: [
    ("QuantizeLinear", [0.0], [3.0], "a scale of 0.0"),
    ("QuantizeLinear", [Double.nan], [3], "a scale of nan"),
    ("QuantizeLinear", [Double.infinity], [3], "a scale of inf"),
    ("DequantizeLinear", [Double.nan], [3], "a scale of nan"),
    ("QuantizeLinear", [0.1, 0.2, 0.3], [3], "f32[3] for axis 1 of f32[N,4,2,2]"),
    ("DequantizeLinear", [0.1, 0.2, 0.3, 0.4], [3, 4], "u8[2] for axis 1 of u8[N,4,2,2]"),
  ])
  func whatCannotBeMeant(opType: String, scale: [Double], zero: [Double], says: String) throws {
    let error = #expect(throws: GraftError.self) {
      try opcodes(opType, opType == "QuantizeLinear" ? image : bytes, scale: scale, zero: zero)
    }
    #expect(error?.kind == .invalidModel)
    #expect(error?.message == says, "\(error?.message ?? "")")
  }

  @Test func mismatchesOfWeights() throws {
    let weights = try constant([1, 2, 3], .int8)
    let lengths = #expect(throws: GraftError.self) {
      try opcodes(
        "DequantizeLinear", weights, scale: [0.1, 0.2], zero: [0], .int8, ["axis": .int(0)])
    }
    #expect(lengths?.message.contains("[C3]") == true)
    let types = #expect(throws: GraftError.self) {
      try opcodes("DequantizeLinear", bytes, scale: [0.1], zero: [0], .int8)
    }
    #expect(types?.message == "a zero point i8[] for u8", "\(types?.message ?? "")")
    let constants = #expect(throws: GraftError.self) {
      try opcodes(
        "QuantizeLinear", constant([1, 2, 3], .float32), scale: [0.1, 0.2], zero: [0], .int8,
        ["axis": .int(0)])
    }
    #expect(constants?.kind == .invalidModel)
  }
}
