// The error function. ONNX Erf, opsets 9, 13; https://onnx.ai/onnx/operators/onnx__Erf.html

import GraftIR
import RealModule

/// y = 2/√π ∫₀ˣ exp(−t²) dt, elementwise, any shape.
public struct ErrorFunction: PlainUnaryElementwise {
  public static let opcode: Opcode = "erf"
  public static let summary = "Gauss error function"
  public static let onnxName: String? = "Erf"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Scalar.erf(x)
  }
}
