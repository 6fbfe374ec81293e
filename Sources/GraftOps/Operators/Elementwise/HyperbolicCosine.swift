// The hyperbolic cosine. ONNX Cosh, opset 9; https://onnx.ai/onnx/operators/onnx__Cosh.html

import GraftIR
import RealModule

/// y = cosh x, elementwise, any shape.
public struct HyperbolicCosine: PlainUnaryElementwise {
  public static let opcode: Opcode = "cosh"
  public static let summary = "hyperbolic cosine"
  public static let onnxName: String? = "Cosh"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.cosh(x)
  }
}

extension HyperbolicCosine: DifferentiableOperator {
  /// dx = dy · sinh x
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let slope = try builder.apply(HyperbolicSine(), [try builder.operand(0)])
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }
}
