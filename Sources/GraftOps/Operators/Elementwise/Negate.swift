// Negation. ONNX Neg, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Neg.html

import GraftIR
import RealModule

/// y = −x, elementwise, any shape.
public struct Negate: PlainUnaryElementwise {
  public static let opcode: Opcode = "neg"
  public static let summary = "-x"
  public static let onnxName: String? = "Neg"
  public static let takesIntegers = true
  public static let keepsScores = true

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    -x
  }
  public func apply(_ x: Dimension) -> Dimension? { x.multiplied(by: -1) }
}

extension Negate: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(of: 0, try builder.apply(Negate(), [try builder.incoming()]))
  }
}
