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
    x > 0 ? x : (x.isNaN ? x : 0)
  }
}

extension Relu: ActivationFunction {
  public var isNonNegative: Bool { true }
  public var derivativeReadsResult: Bool { true }
  /// 0 at the corner.
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    value > 0 ? 1 : 0
  }
}
