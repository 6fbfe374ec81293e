// A smooth gate. ONNX Mish, opset 18; https://onnx.ai/onnx/operators/onnx__Mish.html

import GraftIR
import RealModule

/// y = x · tanh(softplus(x)), elementwise, any shape (Misra 2019).
public struct Mish: PlainUnaryElementwise {
  public static let opcode: Opcode = "mish"
  public static let group = OperatorGroup.activation
  public static let summary = "x · tanh(ln(1 + exp(x)))"
  public static let onnxName: String? = "Mish"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x * Scalar.tanh(Softplus().apply(x))
  }

  public static let onnx = [
    ONNXBinding("Mish", since: 18) { _ in ImportedOperator(Mish(), operands: [0]) }
  ]
}

extension Mish: DifferentiableOperator {
  /// With t = tanh(softplus(x)): dx = dy · (t + x · sigmoid(x) · (1 − t²)).
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let t = try builder.apply(Tanh(), [try builder.apply(Softplus(), [x])])
    let product = try builder.apply(Multiply(), [x, try builder.apply(Sigmoid(), [x])])
    let inner = try builder.apply(ActivationGradient(activation: .tanh), [product, t])
    let slope = try builder.apply(Add(), [t, inner])
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }
}
