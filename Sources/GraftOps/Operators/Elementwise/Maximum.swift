// Elementwise maximum of several tensors. ONNX Max, opsets 6, 8 (broadcasting), 12, 13;
// https://onnx.ai/onnx/operators/onnx__Max.html

import GraftIR
import RealModule

/// y = max(x₀, x₁, …) with multidirectional broadcasting; NaN if one of them is.
public struct Maximum: VariadicElementwise {
  public static let opcode: Opcode = "max"
  public static let summary = "elementwise maximum of several tensors with broadcasting"
  public static let onnxName = "Max"

  public init() {}

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    if a.isNaN || b.isNaN { return .nan }
    return Swift.max(a, b)
  }

  public static func apply(_ a: Dimension, _ b: Dimension) -> Dimension? {
    guard let order = a.compared(to: b) else { return nil }
    return order >= 0 ? a : b
  }
}

extension Maximum: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try buildGradientOfChoice(&builder) { try $0.apply(Subtract(), [$1, $2]) }
  }
}
