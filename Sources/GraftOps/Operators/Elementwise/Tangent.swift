// The tangent. ONNX Tan, opset 7; https://onnx.ai/onnx/operators/onnx__Tan.html

import GraftIR
import RealModule

/// y = tan x, x in radians, elementwise, any shape.
public struct Tangent: PlainUnaryElementwise {
  public static let opcode: Opcode = "tan"
  public static let summary = "tangent"
  public static let onnxName: String? = "Tan"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.tan(x)
  }
}

extension Tangent: DifferentiableOperator {
  /// dx = dy · (1 + y²)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let y = builder.result()
    let square = try builder.apply(Multiply(), [y, y])
    let slope = try builder.apply(Add(), [square, try builder.scalar(1, like: y)])
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }
}
