// The sine. ONNX Sin, opset 7; https://onnx.ai/onnx/operators/onnx__Sin.html

import GraftIR
import RealModule

/// y = sin x, x in radians, elementwise, any shape.
public struct Sine: PlainUnaryElementwise {
  public static let opcode: Opcode = "sin"
  public static let summary = "sine"
  public static let onnxName: String? = "Sin"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.sin(x)
  }
}

extension Sine: DifferentiableOperator {
  /// dx = dy · cos x
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let slope = try builder.apply(Cosine(), [try builder.operand(0)])
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }
}
