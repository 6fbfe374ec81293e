// Rounding to integers. ONNX Round, opset 11; https://onnx.ai/onnx/operators/onnx__Round.html

import GraftIR
import RealModule

/// y is the integer that is nearest to x, ties to even, elementwise, any shape.
public struct Round: PlainUnaryElementwise {
  public static let opcode: Opcode = "round"
  public static let summary = "nearest integer, ties to even"
  public static let onnxName: String? = "Round"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.rounded(.toNearestOrEven)
  }
}

extension Round: DifferentiableOperator {
  /// Zero wherever there is a derivative.
  public func buildGradient(_ builder: inout GradientBuilder) throws {}
}
