// The exponential. ONNX Exp, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Exp.html

import GraftIR
import RealModule

/// y = eˣ, elementwise, any shape.
public struct Exponential: PlainUnaryElementwise {
  public static let opcode: Opcode = "exp"
  public static let summary = "e to the power x"
  public static let onnxName: String? = "Exp"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.exp(x)
  }
}

extension Exponential: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), builder.result()]))
  }
}
