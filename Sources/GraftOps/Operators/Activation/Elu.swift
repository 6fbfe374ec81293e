// Exponential linear unit. ONNX Elu, opset 6; https://onnx.ai/onnx/operators/onnx__Elu.html

import GraftIR
import RealModule

/// y = x where x ≥ 0, else alpha · (eˣ − 1), elementwise, any shape.
public struct Elu: UnaryElementwise {
  public static let opcode: Opcode = "elu"
  public static let group = OperatorGroup.activation
  public static let summary = "x where x ≥ 0, else alpha · (exp(x) - 1)"
  public static let onnxName: String? = "Elu"

  public var alpha: Double

  public init(alpha: Double = 1) { self.alpha = alpha }
  public init(attributes: Attributes) throws { alpha = try attributes.float("alpha") }
  public var attributes: Attributes { ["alpha": .float(alpha)] }
  public var parameters: [Double] { [alpha] }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x < 0 ? Scalar(alpha) * Scalar.expMinusOne(x) : x
  }

  public static let onnx = [
    ONNXBinding("Elu") { node in
      ImportedOperator(Elu(alpha: try node.float("alpha", default: 1)), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { try exported(attributes: [("alpha", .float(alpha))]) }
}

extension Elu: DifferentiableOperator {
  /// With r = [y > 0] and y = alpha · (eˣ − 1) below zero: dx = dy · (r · (1 − alpha) + min(y, 0) + alpha).
  ///
  /// Where alpha is negative the sign of y does not tell that of x; then
  /// dx = dy · ([x > 0] · (1 − alpha) + alpha · exp(min(x, 0))).
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    guard alpha >= 0 else { return try buildGradientFromArgument(&builder) }
    let (dy, y) = (try builder.incoming(), builder.result())
    let zero = try builder.scalar(0, like: y)
    let below = try builder.apply(Minimum(), [y, zero])
    let slope = try builder.apply(Add(), [below, try builder.scalar(alpha, like: y)])
    var gradient = try builder.apply(Multiply(), [dy, slope])
    if alpha != 1 {
      let above = try builder.apply(ActivationGradient(activation: .relu), [dy, y])
      gradient = try builder.apply(Add(), [gradient, try builder.scaled(above, by: 1 - alpha)])
    }
    try builder.setGradient(of: 0, gradient)
  }

  private func buildGradientFromArgument(_ builder: inout GradientBuilder) throws {
    let (dy, x) = (try builder.incoming(), try builder.operand(0))
    let below = try builder.apply(Minimum(), [x, try builder.scalar(0, like: x)])
    let slope = try builder.scaled(try builder.apply(Exponential(), [below]), by: alpha)
    let own = try builder.apply(Multiply(), [dy, slope])
    let above = try builder.apply(ActivationGradient(activation: .relu), [dy, x])
    try builder.setGradient(
      of: 0, try builder.apply(Add(), [own, try builder.scaled(above, by: 1 - alpha)]))
  }
}
