// Rounding down. ONNX Floor, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Floor.html

import GraftIR
import RealModule

/// y = ⌊x⌋, elementwise, any shape; the identity on shape values, which are whole.
public struct Floor: PlainUnaryElementwise {
  public static let opcode: Opcode = "floor"
  public static let summary = "largest integer not greater than x"
  public static let onnxName: String? = "Floor"
  public static let takesIntegers = true

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.rounded(.down)
  }
  public func apply(_ x: Dimension) -> Dimension? { x }
}

extension Floor: DifferentiableOperator {
  /// Zero wherever there is a derivative.
  public func buildGradient(_ builder: inout GradientBuilder) throws {}
}
