// A scaled exponential linear unit. ONNX Selu, opset 6; https://onnx.ai/onnx/operators/onnx__Selu.html

import GraftIR
import RealModule

/// y = gamma · x where x > 0, else gamma · alpha · (eˣ − 1), elementwise, any shape (Klambauer et al. 2017).
public struct Selu: UnaryElementwise {
  public static let opcode: Opcode = "selu"
  public static let group = OperatorGroup.activation
  public static let summary = "gamma · x where x > 0, else gamma · alpha · (exp(x) - 1)"
  public static let onnxName: String? = "Selu"

  public var alpha: Double
  public var gamma: Double

  public init(alpha: Double = 1.6732631921768188, gamma: Double = 1.0507010221481323) {
    self.alpha = alpha
    self.gamma = gamma
  }
  public init(attributes: Attributes) throws {
    alpha = try attributes.float("alpha")
    gamma = try attributes.float("gamma")
  }
  public var attributes: Attributes { ["alpha": .float(alpha), "gamma": .float(gamma)] }
  public var parameters: [Double] { [alpha, gamma] }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar(gamma) * (x < 0 ? Scalar(alpha) * Scalar.expMinusOne(x) : x)
  }

  public static let onnx = [
    ONNXBinding("Selu") { node in
      ImportedOperator(
        Selu(
          alpha: try node.float("alpha", default: node.opset < 6 ? 1.6732 : 1.6732631921768188),
          gamma: try node.float("gamma", default: node.opset < 6 ? 1.0507 : 1.0507010221481323)),
        operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try exported(attributes: [("alpha", .float(alpha)), ("gamma", .float(gamma))])
  }
}

extension Selu: DifferentiableOperator {
  /// dx = dy · gamma · ([x > 0] · (1 − alpha) + alpha · exp(min(x, 0)))
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let (dy, x) = (try builder.incoming(), try builder.operand(0))
    let below = try builder.apply(Minimum(), [x, try builder.scalar(0, like: x)])
    let slope = try builder.scaled(try builder.apply(Exponential(), [below]), by: alpha * gamma)
    let own = try builder.apply(Multiply(), [dy, slope])
    let above = try builder.scaled(
      try builder.apply(ActivationGradient(activation: .relu), [dy, x]), by: (1 - alpha) * gamma)
    try builder.setGradient(of: 0, try builder.apply(Add(), [own, above]))
  }
}
