// The sigmoid-weighted linear unit, which ONNX up to opset 21 writes as two nodes.

import GraftIR
import RealModule

/// y = x / (1 + e⁻ˣ), elementwise, any shape. Passes make it of x · sigmoid(x).
public struct Silu: PlainUnaryElementwise {
  public static let opcode: Opcode = "silu"
  public static let summary = "x · sigmoid(x)"
  public static let onnxName: String? = nil

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    Activation.silu(x)
  }
  public var fusedActivation: Activation? { .silu }
}

extension Silu: DifferentiableOperator {}
