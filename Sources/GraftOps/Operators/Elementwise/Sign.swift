// The sign. ONNX Sign, opsets 9, 13; https://onnx.ai/onnx/operators/onnx__Sign.html

import GraftIR
import RealModule

/// y = 1 where x > 0, −1 where x < 0, else x, elementwise, any shape.
public struct Sign: PlainUnaryElementwise {
  public static let opcode: Opcode = "sign"
  public static let summary = "1, 0 or -1"
  public static let onnxName: String? = "Sign"
  public static let takesIntegers = true

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x > 0 ? 1 : (x < 0 ? -1 : x)
  }
  public func apply(_ x: Dimension) -> Dimension? { Dimension(x.coefficient.signum()) }
}

extension Sign: DifferentiableOperator {
  /// Zero wherever there is a derivative.
  public func buildGradient(_ builder: inout GradientBuilder) throws {}
}
