// The error function. ONNX Erf, opsets 9, 13; https://onnx.ai/onnx/operators/onnx__Erf.html

import GraftIR
import RealModule

/// y = 2/√π ∫₀ˣ exp(−t²) dt, elementwise, any shape.
public struct ErrorFunction: PlainUnaryElementwise {
  public static let opcode: Opcode = "erf"
  public static let group = OperatorGroup.activation
  public static let summary = "Gauss error function"
  public static let onnxName: String? = "Erf"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.erf(x)
  }
}

extension ErrorFunction: DifferentiableOperator {
  /// dx = dy · 2 / √π · e^(−x²)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let square = try builder.apply(Multiply(), [x, x])
    let bell = try builder.apply(Exponential(), [try builder.apply(Negate(), [square])])
    let product = try builder.apply(Multiply(), [try builder.incoming(), bell])
    try builder.setGradient(of: 0, try builder.scaled(product, by: 2 / Double.pi.squareRoot()))
  }
}
