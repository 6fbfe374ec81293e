// The inverse hyperbolic sine. ONNX Asinh, opset 9; https://onnx.ai/onnx/operators/onnx__Asinh.html

import GraftIR
import RealModule

/// y = arsinh x, elementwise, any shape.
public struct InverseHyperbolicSine: PlainUnaryElementwise {
  public static let opcode: Opcode = "asinh"
  public static let summary = "inverse hyperbolic sine"
  public static let onnxName: String? = "Asinh"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.asinh(x)
  }
}

extension InverseHyperbolicSine: DifferentiableOperator {
  /// dx = dy / √(x² + 1)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let share = try builder.share(ofConstant: 1, square: 1, isRoot: true)
    try builder.setGradient(of: 0, share)
  }
}
