// The inverse cosine. ONNX Acos, opset 7; https://onnx.ai/onnx/operators/onnx__Acos.html

import GraftIR
import RealModule

/// y = arccos x in radians, NaN outside [−1, 1], elementwise, any shape.
public struct ArcCosine: PlainUnaryElementwise {
  public static let opcode: Opcode = "acos"
  public static let summary = "inverse cosine"
  public static let onnxName: String? = "Acos"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.acos(x)
  }
}

extension ArcCosine: DifferentiableOperator {
  /// dx = −dy / √(1 − x²)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let share = try builder.share(ofConstant: 1, square: -1, isRoot: true)
    try builder.setGradient(of: 0, try builder.apply(Negate(), [share]))
  }
}
