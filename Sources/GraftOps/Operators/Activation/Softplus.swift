// A rectifier without a corner. ONNX Softplus, opset 1; https://onnx.ai/onnx/operators/onnx__Softplus.html

import GraftIR
import RealModule

/// y = ln(1 + eˣ), elementwise, any shape (Dugas et al. 2001).
public struct Softplus: PlainUnaryElementwise {
  public static let opcode: Opcode = "softplus"
  public static let group = OperatorGroup.activation
  public static let summary = "ln(1 + exp(x))"
  public static let onnxName: String? = "Softplus"

  public init() {}

  /// max(x, 0) + ln(1 + e^−|x|): no exponential overflows, and small results keep their digits.
  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.isNaN ? x : max(x, 0) + Scalar.log(onePlus: Scalar.exp(-x.magnitude))
  }
}

extension Softplus: DifferentiableOperator {
  /// dx = dy · sigmoid(x)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let slope = try builder.apply(Sigmoid(), [try builder.operand(0)])
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }
}
