// The cosine. ONNX Cos, opset 7; https://onnx.ai/onnx/operators/onnx__Cos.html

import GraftIR
import RealModule

/// y = cos x, x in radians, elementwise, any shape.
public struct Cosine: PlainUnaryElementwise {
  public static let opcode: Opcode = "cos"
  public static let summary = "cosine"
  public static let onnxName: String? = "Cos"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.cos(x)
  }
}

extension Cosine: DifferentiableOperator {
  /// dx = −dy · sin x
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let sine = try builder.apply(Sine(), [try builder.operand(0)])
    let product = try builder.apply(Multiply(), [try builder.incoming(), sine])
    try builder.setGradient(of: 0, try builder.apply(Negate(), [product]))
  }
}
