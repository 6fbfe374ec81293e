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
    x.isNaN ? x : min(max(Scalar(alpha) * x + Scalar(beta), 0), 1)
  }

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

extension HardSigmoid: ActivationFunction {
  public init(parameters: [Double]) { self.init(alpha: parameters[0], beta: parameters[1]) }
  public static let parameterCount = 2
  public var isNonNegative: Bool { true }
  public var derivativeReadsResult: Bool { true }
  /// 0 at both corners.
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    value > 0 && value < 1 ? Scalar(alpha) : 0
  }
}
