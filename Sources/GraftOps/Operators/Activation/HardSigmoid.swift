// A sigmoid of three straight pieces. ONNX HardSigmoid, opset 6;
// https://onnx.ai/onnx/operators/onnx__HardSigmoid.html

import GraftIR
import RealModule

/// y = min(max(alpha · x + beta, 0), 1), elementwise, any shape.
public struct HardSigmoid: UnaryElementwise {
  public static let opcode: Opcode = "hard_sigmoid"
  public static let summary = "clip(alpha · x + beta, 0, 1)"
  public static let onnxName: String? = "HardSigmoid"

  public var alpha: Double
  public var beta: Double

  public init(alpha: Double = 0.2, beta: Double = 0.5) {
    self.alpha = alpha
    self.beta = beta
  }
  public init(attributes: Attributes) throws {
    alpha = try attributes.float("alpha")
    beta = try attributes.float("beta")
  }
  public var attributes: Attributes { ["alpha": .float(alpha), "beta": .float(beta)] }
  public var parameters: [Double] { [alpha, beta] }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Activation.hardSigmoid(alpha: alpha, beta: beta)(x)
  }
  public var fusedActivation: Activation? { .hardSigmoid(alpha: alpha, beta: beta) }

  public static let onnx = [
    ONNXBinding("HardSigmoid") { node in
      ImportedOperator(
        HardSigmoid(
          alpha: try node.float("alpha", default: Double(Float(0.2))),
          beta: try node.float("beta", default: 0.5)),
        operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try exported(attributes: [("alpha", .float(alpha)), ("beta", .float(beta))])
  }
}

extension HardSigmoid: DifferentiableOperator {}
