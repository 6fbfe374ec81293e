// Rectified linear unit. ONNX Relu, opsets 6, 13, 14; https://onnx.ai/onnx/operators/onnx__Relu.html

import GraftIR
import RealModule

/// y = max(x, 0), elementwise, any shape; a NaN stays one.
public struct Relu: PlainUnaryElementwise {
  public static let opcode: Opcode = "relu"
  public static let summary = "max(x, 0)"
  public static let onnxName: String? = "Relu"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Activation.relu(x)
  }
  public var fusedActivation: Activation? { .relu }
}

extension Relu: DifferentiableOperator {}
