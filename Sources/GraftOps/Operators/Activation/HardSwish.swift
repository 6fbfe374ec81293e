// The hard swish of MobileNetV3. ONNX HardSwish, opset 14; https://onnx.ai/onnx/operators/onnx__HardSwish.html

import GraftIR
import RealModule

/// y = x · min(max(x / 6 + 1/2, 0), 1), elementwise, any shape (Howard et al. 2019).
public struct HardSwish: PlainUnaryElementwise {
  public static let opcode: Opcode = "hard_swish"
  public static let summary = "x · clip(x / 6 + 1/2, 0, 1)"
  public static let onnxName: String? = "HardSwish"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.isNaN ? x : x * min(max(x / 6 + 0.5, 0), 1)
  }
}

extension HardSwish: ActivationFunction {
  public var derivativeReadsResult: Bool { false }
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    if value <= -3 { return 0 }
    return value < 3 ? value / 3 + 0.5 : 1
  }
}
