// The inverse hyperbolic cosine. ONNX Acosh, opset 9; https://onnx.ai/onnx/operators/onnx__Acosh.html

import GraftIR
import RealModule

/// y = arcosh x, NaN below 1, elementwise, any shape.
public struct InverseHyperbolicCosine: PlainUnaryElementwise {
  public static let opcode: Opcode = "acosh"
  public static let summary = "inverse hyperbolic cosine"
  public static let onnxName: String? = "Acosh"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.acosh(x)
  }
}

extension InverseHyperbolicCosine: DifferentiableOperator {
  /// dx = dy / √(x² − 1)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let share = try builder.share(ofConstant: -1, square: 1, isRoot: true)
    try builder.setGradient(of: 0, share)
  }
}
