// The inverse tangent. ONNX Atan, opset 7; https://onnx.ai/onnx/operators/onnx__Atan.html

import GraftIR
import RealModule

/// y = arctan x in radians, elementwise, any shape.
public struct ArcTangent: PlainUnaryElementwise {
  public static let opcode: Opcode = "atan"
  public static let summary = "inverse tangent"
  public static let onnxName: String? = "Atan"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.atan(x)
  }
}

extension ArcTangent: DifferentiableOperator {
  /// dx = dy / (1 + x²)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let share = try builder.share(ofConstant: 1, square: 1, isRoot: false)
    try builder.setGradient(of: 0, share)
  }
}
