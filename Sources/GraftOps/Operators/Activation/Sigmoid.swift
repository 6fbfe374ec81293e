// The logistic function. ONNX Sigmoid, opsets 6, 13; https://onnx.ai/onnx/operators/onnx__Sigmoid.html

import GraftIR
import RealModule

/// y = 1 / (1 + e⁻ˣ), elementwise, any shape.
public struct Sigmoid: PlainUnaryElementwise {
  public static let opcode: Opcode = "sigmoid"
  public static let summary = "1 / (1 + exp(-x))"
  public static let onnxName: String? = "Sigmoid"

  public init() {}

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    1 / (1 + Scalar.exp(-x))
  }
}

extension Sigmoid: ActivationFunction {
  public var isNonNegative: Bool { true }
  public var derivativeReadsResult: Bool { true }
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    value * (1 - value)
  }
}

extension Sigmoid: ProbabilityActivation {
  public static var probabilities: Probabilities { .sigmoid }
  public func normalizedAxes(rank: Int) -> [Int] { [] }
}
