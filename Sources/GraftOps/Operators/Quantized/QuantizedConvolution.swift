// Two-dimensional convolution on bytes. What ONNX's QLinearConv is, with the bias in the sum, and with a
// residual and an activation before the result is quantized.

import GraftDiagnostics
import GraftIR

/// y = requantized(bias + Σ w · (x − x_zero), multiplier, residual), the sum exact in int32 or, where the operator
/// is not ``isExact``, near it; see ``Requantization``. Padding stands for 0.
///
/// Operands: x uint8 [batch, channels, height, width]; w int8 [outputs, channels / groups, kernel height, kernel
/// width]; bias int32 [outputs], in units of the products; multiplier float32 [outputs]; residual uint8 or
/// float32 [batch, outputs, height', width'].
///
/// x and w must also hold to ``Convolution``'s constraints.
///
/// - C1: x is uint8 and w int8.
/// - C3: bias and multiplier have one element for each output.
/// - C5: residual has the result's shape.
/// - C7: all numbers of the requantization are in range, x_zero within 0...255.
public struct QuantizedConvolution: GroupedConvolution {
  public static let opcode: Opcode = "quantized_convolution"
  public static let group = OperatorGroup.convolution
  public static let summary = "2-D convolution of bytes, with optional residual and activation"
  public static let operands: [OperandRule] = [
    .required("x"), .required("w", .weight), .required("bias", .bias),
    .required("multiplier", .scale), .optional("residual", .residual),
  ]

  /// [height, width]
  public var strides: [Int]
  /// [top, left, bottom, right]
  public var pads: [Int]
  /// [height, width]
  public var dilations: [Int]
  public var groups: Int
  public var xZero: Int
  /// The scale of x, which only exports tell; 1 where it is unknown.
  public var xScale = 1.0
  public var requantization: Requantization
  /// Whether the sum must be the exact one of integers, as files that others quantized ask for. Where not, kernels
  /// may compute it from bfloat16 numbers.
  public var isExact: Bool

  public init(
    _ convolution: Convolution, xZero: Int, _ requantization: Requantization,
    isExact: Bool = false
  ) {
    self.isExact = isExact
    strides = convolution.strides
    pads = convolution.pads
    dilations = convolution.dilations
    groups = convolution.groups
    self.xZero = xZero
    self.requantization = requantization
  }

  public init(attributes: Attributes) throws {
    self.init(
      try Convolution(attributes: attributes),
      xZero: try attributes.int("x_zero", default: 0), try Requantization(attributes: attributes),
      isExact: try attributes.bool("exact", default: false))
    xScale = try attributes.float("x_scale", default: 1)
  }

  /// The same convolution on real numbers, without what follows the sum.
  public var convolution: Convolution {
    Convolution(strides: strides, pads: pads, dilations: dilations, groups: groups)
  }

  public var attributes: Attributes {
    var attributes = convolution.attributes
    if xZero != 0 { attributes["x_zero"] = .int(xZero) }
    if xScale != 1 { attributes["x_scale"] = .float(xScale) }
    if isExact { attributes["exact"] = .bool(true) }
    requantization.write(to: &attributes)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let w = try operand(1, of: operands)
    try require(
      "C1", x.dtype == .uint8 && w.dtype == .int8, "x must be uint8 and w int8, found \(x), \(w)")
    try requantization.check("C7")
    try Quantization(scale: xScale, zero: xZero).check("C7")
    let real = try convolution.inferTypes([
      TensorType(.float32, x.shape), TensorType(.float32, w.shape),
    ])[0]
    for (index, dtype) in [(2, DataType.int32), (3, .float32)] {
      let vector = try operand(index, of: operands)
      try require(
        "C3", vector.dtype == dtype && vector.shape == TensorShape([w.shape[0]]),
        "expected \(dtype.rawValue)[\(w.shape[0])], found \(vector)")
    }
    if let residual = optionalOperand(4, of: operands) {
      try require(
        "C5", [.uint8, .float32].contains(residual.dtype) && residual.shape == real.shape,
        "residual must have the shape \(real.shape), found \(residual)")
    }
    return [TensorType(requantization.dtype, real.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count >= 4, let x = try operands[0]?.wholeNumbers(),
      let w = try operands[1]?.wholeNumbers(), let bias = try operands[2]?.wholeNumbers(),
      let multipliers = try operands[3]?.singles()
    else { throw GraftError(.invalidGraph, "an operand is missing") }
    // Sums of integers are exact in float64.
    let sums = try convolution.evaluate(
      real: [
        x.map { Double($0 - xZero) }, w.map { Double($0) }, bias.map { Double($0) },
      ], extents: extents)[0]
    let pixels = extents[0][2] * extents[0][3]
    let outputs = extents[0][1]
    return [
      try requantization.results(
        sums.elements.map { Int($0) }, shape: extents[0], multipliers: multipliers.elements,
        residual: operands.count > 4 ? operands[4] : nil, output: { $0 / pixels % outputs })
    ]
  }

  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    try builder.sum(
      of: convolution, x: Quantization(scale: xScale, zero: xZero), requantization)
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    convolution.cost(operands: operands, results: results)
  }

  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public func border(ofOperand index: Int, types: [TensorType?]) -> (height: Int, width: Int) {
    convolution.border(ofOperand: index, types: types)
  }

  public func borderValue(ofOperand index: Int) -> Int { index == 0 ? xZero : 0 }
}

extension Convolution: QuantizableSum {
  public func quantized(
    x: Quantization, _ requantization: Requantization, isExact: Bool, operands: [TensorType?]
  ) -> Result<any Operator, GraftError> {
    let w = optionalOperand(1, of: operands)?.shape.constants ?? []
    let isDepthwise = w.count == 4 && groups > 1 && w[1] == 1 && w[0] == groups
    if groups > 1, !isDepthwise || dilations != [1, 1] {
      return .failure(
        GraftError(
          .unsupported,
          isDepthwise
            ? "dilated depthwise convolutions have no int8 kernel"
            : "grouped convolutions have no int8 kernel"))
    }
    var quantized = QuantizedConvolution(self, xZero: x.zero, requantization, isExact: isExact)
    quantized.xScale = x.scale
    return .success(quantized)
  }

  public var outputsAxis: Int { 0 }

  public func outputsFirst(_ weights: DenseTensor<Float>) -> DenseTensor<Float> { weights }
}
