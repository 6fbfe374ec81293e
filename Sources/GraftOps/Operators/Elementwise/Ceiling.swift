// Rounding up. ONNX Ceil, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Ceil.html

import GraftIR
import RealModule

/// y = ⌈x⌉, elementwise, any shape; the identity on shape values, which are whole.
public struct Ceiling: PlainUnaryElementwise {
  public static let opcode: Opcode = "ceil"
  public static let summary = "smallest integer not less than x"
  public static let onnxName: String? = "Ceil"
  public static let takesIntegers = true

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.rounded(.up)
  }
  public func apply(_ x: Dimension) -> Dimension? { x }
}

extension Ceiling: DifferentiableOperator {
  /// Zero wherever there is a derivative.
  public func buildGradient(_ builder: inout GradientBuilder) throws {}
}
