// Exponential linear unit. ONNX Elu, opset 6; https://onnx.ai/onnx/operators/onnx__Elu.html

import GraftIR
import RealModule

/// y = x where x ≥ 0, else alpha · (eˣ − 1), elementwise, any shape.
public struct Elu: UnaryElementwise {
  public static let opcode: Opcode = "elu"
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
