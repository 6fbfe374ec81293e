// The hyperbolic sine. ONNX Sinh, opset 9; https://onnx.ai/onnx/operators/onnx__Sinh.html

import GraftIR
import RealModule

/// y = sinh x, elementwise, any shape.
public struct HyperbolicSine: PlainUnaryElementwise {
  public static let opcode: Opcode = "sinh"
  public static let summary = "hyperbolic sine"
  public static let onnxName: String? = "Sinh"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.sinh(x)
  }
}

extension HyperbolicSine: DifferentiableOperator {
  /// dx = dy · cosh x
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let slope = try builder.apply(HyperbolicCosine(), [try builder.operand(0)])
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }
}
