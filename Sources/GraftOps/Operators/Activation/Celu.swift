// An exponential linear unit with a continuous slope. ONNX Celu, opset 12;
// https://onnx.ai/onnx/operators/onnx__Celu.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = x where x ≥ 0, else alpha · (e^(x / alpha) − 1), elementwise, any shape (Barron 2017).
///
/// - C1: x has a floating-point type.
/// - C2: alpha is a number and not 0.
public struct Celu: UnaryElementwise {
  public static let opcode: Opcode = "celu"
  public static let group = OperatorGroup.activation
  public static let summary = "x where x ≥ 0, else alpha · (exp(x / alpha) - 1)"
  public static let onnxName: String? = "Celu"

  public var alpha: Double

  public init(alpha: Double = 1) { self.alpha = alpha }
  public init(attributes: Attributes) throws { alpha = try attributes.float("alpha") }
  public var attributes: Attributes { ["alpha": .float(alpha)] }
  public var parameters: [Double] { [alpha] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    try require(
      "C2", alpha.isFinite && alpha != 0, "alpha must be finite and not 0, found \(alpha)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x < 0 ? Scalar(alpha) * Scalar.expMinusOne(x / Scalar(alpha)) : x
  }

  public static let onnx = [
    ONNXBinding("Celu") { node in
      ImportedOperator(Celu(alpha: try node.float("alpha", default: 1)), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { try exported(attributes: [("alpha", .float(alpha))]) }
}

extension Celu: DifferentiableOperator {
  /// dx = dy · exp(min(x, 0) / alpha)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let below = try builder.apply(Minimum(), [x, try builder.scalar(0, like: x)])
    let slope = try builder.apply(Exponential(), [try builder.scaled(below, by: 1 / alpha)])
    try builder.setGradient(
      of: 0, try builder.apply(Multiply(), [try builder.incoming(), slope]))
  }
}
