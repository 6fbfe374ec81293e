// Hyperbolic tangent. ONNX Tanh, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Tanh.html

import GraftIR
import RealModule

/// y = tanh(x), elementwise, any shape.
public struct Tanh: PlainUnaryElementwise {
  public static let opcode: Opcode = "tanh"
  public static let summary = "hyperbolic tangent"
  public static let onnxName: String? = "Tanh"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.tanh(x)
  }
}

extension Tanh: ActivationFunction {
  public var derivativeReadsResult: Bool { true }
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    1 - value * value
  }
}
