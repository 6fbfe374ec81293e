// Elementwise product of two tensors. ONNX Mul, opsets 7, 13, 14;
// https://onnx.ai/onnx/operators/onnx__Mul.html

import GraftIR
import RealModule

/// y = activation(a · b) with multidirectional broadcasting.
public struct Multiply: BinaryElementwise {
  public static let opcode: Opcode = "mul"
  public static let summary = "a · b with broadcasting and an optional activation"
  public static let onnxName = "Mul"

  public var activation: Activation
  public init(activation: Activation = .none) { self.activation = activation }

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    a * b
  }
  public static func apply(_ a: Dimension, _ b: Dimension) -> Dimension? {
    a.multiplied(by: b)
  }
}

extension Multiply {
  public static func affine(
    with k: Double, at position: Int
  ) -> (scale: Double, shift: Double)? { (k, 0) }
  public static let isCommutative = true
  public static func neutral(at position: Int) -> Double? { 1 }
}

extension Multiply: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    for index in 0..<2 where builder.wants(index) {
      let other = try builder.operand(1 - index)
      try builder.setGradient(of: index, summing: try builder.apply(Multiply(), [dy, other]))
    }
  }
}
