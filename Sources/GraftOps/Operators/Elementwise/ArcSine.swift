// The inverse sine. ONNX Asin, opset 7; https://onnx.ai/onnx/operators/onnx__Asin.html

import GraftIR
import RealModule

/// y = arcsin x in radians, NaN outside [−1, 1], elementwise, any shape.
public struct ArcSine: PlainUnaryElementwise {
  public static let opcode: Opcode = "asin"
  public static let summary = "inverse sine"
  public static let onnxName: String? = "Asin"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.asin(x)
  }
}

extension ArcSine: DifferentiableOperator {
  /// dx = dy / √(1 − x²)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let share = try builder.share(ofConstant: 1, square: -1, isRoot: true)
    try builder.setGradient(of: 0, share)
  }
}
