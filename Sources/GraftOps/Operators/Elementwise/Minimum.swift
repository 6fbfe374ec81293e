// Elementwise minimum of several tensors. ONNX Min, opsets 6, 8 (broadcasting), 12, 13;
// https://onnx.ai/onnx/operators/onnx__Min.html

import GraftIR
import RealModule

/// y = min(x₀, x₁, …) with multidirectional broadcasting; NaN if one of them is.
public struct Minimum: VariadicElementwise {
  public static let opcode: Opcode = "min"
  public static let summary = "elementwise minimum of several tensors with broadcasting"
  public static let onnxName = "Min"

  public init() {}

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    if a.isNaN || b.isNaN { return .nan }
    return Swift.min(a, b)
  }

  public static func apply(_ a: Dimension, _ b: Dimension) -> Dimension? {
    guard let order = a.compared(to: b) else { return nil }
    return order <= 0 ? a : b
  }
}

extension Minimum: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try buildGradientOfChoice(&builder) { try $0.apply(Subtract(), [$2, $1]) }
  }
}
