// The natural logarithm. ONNX Log, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Log.html

import GraftIR
import RealModule

/// y = ln x, elementwise, any shape; −∞ at zero, NaN below.
public struct Logarithm: PlainUnaryElementwise {
  public static let opcode: Opcode = "log"
  public static let summary = "natural logarithm"
  public static let onnxName: String? = "Log"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.log(x)
  }
}

extension Logarithm: DifferentiableOperator {
  /// dx = dy / x
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(
      of: 0, try builder.apply(Divide(), [try builder.incoming(), try builder.operand(0)]))
  }
}
