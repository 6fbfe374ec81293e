// The reciprocal. ONNX Reciprocal, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Reciprocal.html

import GraftIR
import RealModule

/// y = 1 / x, elementwise, any shape; ±∞ at zero.
public struct Reciprocal: PlainUnaryElementwise {
  public static let opcode: Opcode = "reciprocal"
  public static let summary = "1 / x"
  public static let onnxName: String? = "Reciprocal"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    1 / x
  }
}

extension Reciprocal: DifferentiableOperator {
  /// dx = −dy · y²
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let y = builder.result()
    let square = try builder.apply(Multiply(), [y, y])
    let product = try builder.apply(Multiply(), [try builder.incoming(), square])
    try builder.setGradient(of: 0, try builder.apply(Negate(), [product]))
  }
}
