// Square root. ONNX Sqrt, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Sqrt.html

import GraftIR
import RealModule

/// y = √x, elementwise, any shape; NaN below zero.
public struct SquareRoot: PlainUnaryElementwise {
  public static let opcode: Opcode = "sqrt"
  public static let summary = "square root"
  public static let onnxName: String? = "Sqrt"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.squareRoot()
  }
}
