// The product of a matrix of bytes with constant weights. What ONNX's QLinearMatMul is, with a bias in the sum,
// and with a residual and an activation before the result is quantized.

import GraftDiagnostics
import GraftIR

/// y = requantized(bias + Σ w · (x − x_zero), multiplier, residual), the sum exact in int32; see
/// ``Requantization``.
///
/// Operands: x uint8 [rows, depth]; w int8 [outputs, depth]; bias int32 [outputs], in units of the products;
/// multiplier float32 [outputs]; residual uint8 or float32 [rows, outputs].
///
/// - C1: x is uint8 and w int8, both of rank 2.
/// - C2: depth is constant and the same in x and w, as is outputs.
/// - C3: bias and multiplier have one element for each output.
/// - C5: residual has the result's shape.
/// - C7: all numbers of the requantization are in range, x_zero within 0...255.
public struct QuantizedGemm: Operator {
  public static let opcode: Opcode = "quantized_gemm"
  public static let group = OperatorGroup.matrix
  public static let summary = "product of bytes with constant weights, residual and activation"
  public static let operands: [OperandRule] = [
    .required("x", .factor), .required("w", .factor), .required("bias", .bias),
    .required("multiplier", .scale), .optional("residual", .residual),
  ]

  public var xZero: Int
  /// The scale of x, which only exports tell; 1 where it is unknown.
  public var xScale = 1.0
  public var requantization: Requantization

  public init(xZero: Int, _ requantization: Requantization) {
    self.xZero = xZero
    self.requantization = requantization
  }

  public init(attributes: Attributes) throws {
    xZero = try attributes.int("x_zero", default: 0)
    xScale = try attributes.float("x_scale", default: 1)
    requantization = try Requantization(attributes: attributes)
  }

  public var attributes: Attributes {
    var attributes = Attributes()
    if xZero != 0 { attributes["x_zero"] = .int(xZero) }
    if xScale != 1 { attributes["x_scale"] = .float(xScale) }
    requantization.write(to: &attributes)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let w = try operand(1, of: operands)
    try require(
      "C1", x.dtype == .uint8 && w.dtype == .int8 && x.rank == 2 && w.rank == 2,
      "x must be a matrix of uint8 and w one of int8, found \(x), \(w)")
    try require(
      "C2",
      x.shape[1] == w.shape[1] && !x.shape[1].isBatch && !w.shape[0].isBatch
        && x.shape[1].coefficient > 0,
      "the depth must be constant and the same in x and w, found \(x), \(w)")
    for (index, dtype) in [(2, DataType.int32), (3, .float32)] {
      let vector = try operand(index, of: operands)
      try require(
        "C3", vector.dtype == dtype && vector.shape == TensorShape([w.shape[0]]),
        "expected \(dtype.rawValue)[\(w.shape[0])], found \(vector)")
    }
    let result = TensorType(requantization.dtype, [x.shape[0], w.shape[0]])
    if let residual = optionalOperand(4, of: operands) {
      try require(
        "C5", [.uint8, .float32].contains(residual.dtype) && residual.shape == result.shape,
        "residual must have the shape \(result.shape), found \(residual)")
    }
    try requantization.check("C7")
    try Quantization(scale: xScale, zero: xZero).check("C7")
    return [result]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count >= 4, let x = try operands[0]?.wholeNumbers(),
      let w = try operands[1]?.wholeNumbers(), let bias = try operands[2]?.wholeNumbers(),
      let multipliers = try operands[3]?.singles()
    else { throw GraftError(.invalidGraph, "an operand is missing") }
    let (rows, outputs, depth) = (extents[0][0], extents[0][1], x.shape[1])
    var sums: [Int] = []
    sums.reserveCapacity(rows * outputs)
    for row in 0..<rows {
      for output in 0..<outputs {
        var sum = bias.elements[output]
        for k in 0..<depth {
          sum += (x.elements[row * depth + k] - xZero) * w.elements[output * depth + k]
        }
        sums.append(sum)
      }
    }
    return [
      try requantization.results(
        sums, shape: extents[0], multipliers: multipliers.elements,
        residual: operands.count > 4 ? operands[4] : nil, output: { $0 % outputs })
    ]
  }

  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    try builder.sum(
      of: Gemm(transposesB: true), x: Quantization(scale: xScale, zero: xZero), requantization)
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let depth = optionalOperand(0, of: operands)?.shape.dimensions.last?.constant ?? 0
    return OperatorCost(multiplyAdds: saturatingProduct([elementCount(results.first), depth]))
  }
}

extension Gemm: QuantizableSum {
  public func quantized(
    x: Quantization, _ requantization: Requantization, isExact: Bool, operands: [TensorType?]
  ) -> Result<any Operator, GraftError> {
    let depth = optionalOperand(0, of: operands)?.shape.dimensions.last?.constant ?? 0
    let bias = optionalOperand(2, of: operands)
    guard !transposesA, alpha == 1, beta == 1 || bias == nil, depth.isMultiple(of: 4), depth > 0,
      bias == nil || bias?.rank == 1
    else {
      return .failure(
        GraftError(
          .unsupported, "only x · W + bias with a depth that is a multiple of 4 has an int8 kernel")
      )
    }
    var quantized = QuantizedGemm(xZero: x.zero, requantization)
    quantized.xScale = x.scale
    return .success(quantized)
  }

  public var outputsAxis: Int { transposesB ? 0 : 1 }

  /// [outputs, depth]
  public func outputsFirst(_ weights: DenseTensor<Float>) -> DenseTensor<Float> {
    guard !transposesB, weights.rank == 2 else { return weights }
    let (depth, outputs) = (weights.shape[0], weights.shape[1])
    var turned = DenseTensor<Float>(shape: [outputs, depth], repeating: 0)
    for k in 0..<depth {
      for output in 0..<outputs {
        turned.elements[output * depth + k] = weights.elements[k * outputs + output]
      }
    }
    return turned
  }
}
