// The Gaussian error linear unit, which exporters decompose before opset 20. ONNX Gelu, opset 20;
// https://onnx.ai/onnx/operators/onnx__Gelu.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = x · Φ(x) with the normal distribution Φ(x) = (1 + erf(x / √2)) / 2, or, where ``usesTanh``, with
/// (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2 in place of Φ; elementwise, any shape (Hendrycks and Gimpel
/// 2016).
public struct Gelu: UnaryElementwise {
  public static let opcode: Opcode = "gelu"
  public static let group = OperatorGroup.activation
  public static let summary = "x times the standard normal CDF of x, or its tanh approximation"
  public static let onnxName: String? = "Gelu"

  public var usesTanh: Bool

  public init(usesTanh: Bool = false) { self.usesTanh = usesTanh }
  public init(attributes: Attributes) throws { usesTanh = try attributes.bool("uses_tanh") }
  public var attributes: Attributes { ["uses_tanh": .bool(usesTanh)] }

  /// √(2/π)
  public static let scale = (2 / Double.pi).squareRoot()
  public static let cubic = 0.044715

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    let half = x / 2
    if usesTanh {
      let inner = Scalar(Self.scale) * (x + Scalar(Self.cubic) * x * x * x)
      return half * (1 + Scalar.tanh(inner))
    }
    return half * (1 + Scalar.erf(x * Scalar(0.5.squareRoot())))
  }

  public static let onnx = [
    ONNXBinding("Gelu", since: 20) { node in
      let approximation = try node.string("approximate", default: "none")
      guard ["none", "tanh"].contains(approximation) else {
        throw GraftError(
          .invalidModel, "the approximation \(approximation.quotedForDisplay) is not in ONNX")
      }
      return ImportedOperator(Gelu(usesTanh: approximation == "tanh"), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try exported(attributes: [("approximate", .string(usesTanh ? "tanh" : "none"))])
  }
}

extension Gelu: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let slope = usesTanh ? try tanhSlope(x, &builder) : try exactSlope(x, &builder)
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }

  /// Φ(x) + x · e^(−x²/2) / √(2π)
  private func exactSlope(_ x: ValueID, _ builder: inout GradientBuilder) throws -> ValueID {
    let error = try builder.apply(
      ErrorFunction(), [try builder.scaled(x, by: 0.5.squareRoot())])
    let one = try builder.scalar(1, like: x)
    let distribution = try builder.scaled(try builder.apply(Add(), [error, one]), by: 0.5)
    let square = try builder.apply(Multiply(), [x, x])
    let bell = try builder.apply(Exponential(), [try builder.scaled(square, by: -0.5)])
    let density = try builder.scaled(
      try builder.apply(Multiply(), [x, bell]), by: Self.scale / 2)
    return try builder.apply(Add(), [distribution, density])
  }

  /// With t = tanh(s · (x + c · x³)): (1 + t + x · (1 − t²) · s · (1 + 3c · x²)) / 2.
  private func tanhSlope(_ x: ValueID, _ builder: inout GradientBuilder) throws -> ValueID {
    let one = try builder.scalar(1, like: x)
    let square = try builder.apply(Multiply(), [x, x])
    func polynomial(_ factor: Double, _ builder: inout GradientBuilder) throws -> ValueID {
      let sum = try builder.apply(Add(), [try builder.scaled(square, by: factor), one])
      return try builder.scaled(try builder.apply(Multiply(), [x, sum]), by: Self.scale)
    }
    let t = try builder.apply(Tanh(), [try polynomial(Self.cubic, &builder)])
    let inner = try builder.apply(
      ActivationGradient(activation: .tanh), [try polynomial(3 * Self.cubic, &builder), t])
    let sum = try builder.apply(Add(), [try builder.apply(Add(), [t, one]), inner])
    return try builder.scaled(sum, by: 0.5)
  }
}
