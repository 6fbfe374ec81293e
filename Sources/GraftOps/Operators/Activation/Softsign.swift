// A squashing function of fractions. ONNX Softsign, opset 1; https://onnx.ai/onnx/operators/onnx__Softsign.html

import GraftIR
import RealModule

/// y = x / (1 + |x|), elementwise, any shape.
public struct Softsign: PlainUnaryElementwise {
  public static let opcode: Opcode = "softsign"
  public static let group = OperatorGroup.activation
  public static let summary = "x / (1 + |x|)"
  public static let onnxName: String? = "Softsign"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x / (1 + x.magnitude)
  }
}

extension Softsign: DifferentiableOperator {
  /// dx = dy / (1 + |x|)²
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let size = try builder.apply(
      Add(), [try builder.apply(AbsoluteValue(), [x]), try builder.scalar(1, like: x)])
    let square = try builder.apply(Multiply(), [size, size])
    try builder.setGradient(
      of: 0, try builder.apply(Divide(), [try builder.incoming(), square]))
  }
}
