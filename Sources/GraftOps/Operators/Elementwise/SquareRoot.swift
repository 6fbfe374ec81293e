// Square root. ONNX Sqrt, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Sqrt.html

import GraftIR
import RealModule

/// y = √x, elementwise, any shape; NaN below zero.
public struct SquareRoot: PlainUnaryElementwise {
  public static let opcode: Opcode = "sqrt"
  public static let summary = "square root"
  public static let onnxName: String? = "Sqrt"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.squareRoot()
  }
}

extension SquareRoot: DifferentiableOperator {
  /// dx = dy / (2 · y)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let half = try builder.scaled(try builder.incoming(), by: 0.5)
    try builder.setGradient(of: 0, try builder.apply(Divide(), [half, builder.result()]))
  }
}
