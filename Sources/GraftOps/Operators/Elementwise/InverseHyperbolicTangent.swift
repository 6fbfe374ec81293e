// The inverse hyperbolic tangent. ONNX Atanh, opset 9; https://onnx.ai/onnx/operators/onnx__Atanh.html

import GraftIR
import RealModule

/// y = artanh x, NaN outside [−1, 1], elementwise, any shape.
public struct InverseHyperbolicTangent: PlainUnaryElementwise {
  public static let opcode: Opcode = "atanh"
  public static let summary = "inverse hyperbolic tangent"
  public static let onnxName: String? = "Atanh"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.atanh(x)
  }
}

extension InverseHyperbolicTangent: DifferentiableOperator {
  /// dx = dy / (1 − x²)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let share = try builder.share(ofConstant: 1, square: -1, isRoot: false)
    try builder.setGradient(of: 0, share)
  }
}
