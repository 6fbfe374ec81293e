// A rectifier that begins at a threshold. ONNX ThresholdedRelu, opset 10;
// https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html

import GraftIR
import RealModule

/// y = x where x > alpha, else 0, elementwise, any shape (Konda et al. 2014).
public struct ThresholdedRelu: UnaryElementwise {
  public static let opcode: Opcode = "thresholded_relu"
  public static let group = OperatorGroup.activation
  public static let summary = "x where x > alpha, else 0"
  public static let onnxName: String? = "ThresholdedRelu"

  public var alpha: Double

  public init(alpha: Double = 1) { self.alpha = alpha }
  public init(attributes: Attributes) throws { alpha = try attributes.float("alpha") }
  public var attributes: Attributes { ["alpha": .float(alpha)] }
  public var parameters: [Double] { [alpha] }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x > Scalar(alpha) ? x : 0
  }

  public static let onnx = [
    ONNXBinding("ThresholdedRelu") { node in
      ImportedOperator(
        ThresholdedRelu(alpha: try node.float("alpha", default: 1)), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { try exported(attributes: [("alpha", .float(alpha))]) }
}

extension ThresholdedRelu: DifferentiableOperator {
  /// dx = dy · [x > alpha]
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let above = try builder.apply(Subtract(), [x, try builder.scalar(alpha, like: x)])
    try builder.setGradient(
      of: 0,
      try builder.apply(ActivationGradient(activation: .relu), [try builder.incoming(), above]))
  }
}
