// Absolute value. ONNX Abs, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Abs.html

import GraftIR
import RealModule

/// y = |x|, elementwise, any shape.
public struct AbsoluteValue: PlainUnaryElementwise {
  public static let opcode: Opcode = "abs"
  public static let summary = "absolute value"
  public static let onnxName: String? = "Abs"
  public static let takesIntegers = true

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.magnitude
  }
  public func apply(_ x: Dimension) -> Dimension? {
    x.coefficient < 0 ? x.multiplied(by: -1) : x
  }
}

extension AbsoluteValue: DifferentiableOperator {
  /// dx = dy · x / |x|, 0 where x is 0.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let y = builder.result()
    let size = try builder.apply(
      Maximum(), [y, try builder.scalar(Double(Float.leastNormalMagnitude), like: y)])
    let sign = try builder.apply(Divide(), [try builder.operand(0), size])
    try builder.setGradient(of: 0, try builder.apply(Multiply(), [try builder.incoming(), sign]))
  }
}
