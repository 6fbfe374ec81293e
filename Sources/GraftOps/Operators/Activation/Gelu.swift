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

extension Gelu: ActivationFunction {
  public static var parameterCount: Int { 1 }
  public var parameters: [Double] { [usesTanh ? 1 : 0] }
  public init(parameters: [Double]) { self.init(usesTanh: parameters[0] != 0) }

  public var derivativeReadsResult: Bool { false }

  /// Φ(x) + x · e^(−x²/2) / √(2π), or with t = tanh(s · (x + c · x³)) and s = √(2/π):
  /// (1 + t + x · (1 − t²) · s · (1 + 3c · x²)) / 2.
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    let scale = Scalar(Self.scale)
    guard usesTanh else {
      let distribution = (1 + Scalar.erf(x * Scalar(0.5.squareRoot()))) / 2
      return distribution + x * Scalar.exp(-x * x / 2) * scale / 2
    }
    let cubic = Scalar(Self.cubic)
    let t = Scalar.tanh(scale * (x + cubic * x * x * x))
    return (1 + t + x * (1 - t * t) * scale * (1 + 3 * cubic * x * x)) / 2
  }
}
