// Elementwise difference of two tensors. ONNX Sub, opsets 7, 13, 14;
// https://onnx.ai/onnx/operators/onnx__Sub.html

import GraftIR
import RealModule

/// y = activation(a - b) with multidirectional broadcasting.
public struct Subtract: BinaryElementwise {
  public static let opcode: Opcode = "sub"
  public static let summary = "a - b with broadcasting and an optional activation"
  public static let onnxName = "Sub"

  public var activation: Activation
  public init(activation: Activation = .none) { self.activation = activation }

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    a - b
  }
  public static func apply(_ a: Dimension, _ b: Dimension) -> Dimension? {
    b.multiplied(by: -1).flatMap(a.adding)
  }
}

extension Subtract {
  public static func affine(
    with k: Double, at position: Int
  ) -> (scale: Double, shift: Double)? { position == 0 ? (-1, k) : (1, -k) }
  public static let keepsScores = true
  public static func neutral(at position: Int) -> Double? { 0 }
}

extension Subtract: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    if builder.wants(0) { try builder.setGradient(of: 0, summing: dy) }
    if builder.wants(1) {
      try builder.setGradient(of: 1, summing: try builder.apply(Negate(), [dy]))
    }
  }
}
