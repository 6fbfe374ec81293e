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
    x / (1 + Scalar.exp(-x))
  }
}

extension Silu: ActivationFunction {
  public var derivativeReadsResult: Bool { false }
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    let sigmoid = 1 / (1 + Scalar.exp(-value))
    return sigmoid * (1 + value * (1 - sigmoid))
  }

  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    let x = try builder.operand(0)
    return try builder.apply(Multiply(), [x, try builder.apply(Sigmoid(), [x])])
  }
}
