// Leaky rectified linear unit. ONNX LeakyRelu, opsets 6, 16 (same semantics);
// https://onnx.ai/onnx/operators/onnx__LeakyRelu.html

import GraftIR
import RealModule

/// y = x where x ≥ 0, else alpha · x, elementwise, any shape.
public struct LeakyRelu: UnaryElementwise {
  public static let opcode: Opcode = "leaky_relu"
  public static let summary = "x where x ≥ 0, else alpha · x"
  public static let onnxName: String? = "LeakyRelu"

  public var alpha: Double

  public init(alpha: Double = 0.01) { self.alpha = alpha }
  public init(attributes: Attributes) throws { alpha = try attributes.float("alpha") }
  public var attributes: Attributes { ["alpha": .float(alpha)] }
  public var parameters: [Double] { [alpha] }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x >= 0 ? x : Scalar(alpha) * x
  }

  public static let onnx = [
    ONNXBinding("LeakyRelu") { node in
      ImportedOperator(
        LeakyRelu(alpha: try node.float("alpha", default: Double(Float(0.01)))), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { try exported(attributes: [("alpha", .float(alpha))]) }
}

extension LeakyRelu: ActivationFunction {
  public init(parameters: [Double]) { self.init(alpha: parameters[0]) }
  public static let parameterCount = 1
  /// A result tells the sign of its argument where alpha is positive.
  public var derivativeReadsResult: Bool { alpha > 0 }
  /// alpha at the corner.
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    value > 0 ? 1 : Scalar(alpha)
  }
}
