// Elementwise sum of two tensors. ONNX Add, opsets 7, 13, 14;
// https://onnx.ai/onnx/operators/onnx__Add.html

import GraftIR
import RealModule

/// y = activation(a + b) with multidirectional broadcasting.
public struct Add: BinaryElementwise {
  public static let opcode: Opcode = "add"
  public static let summary = "a + b with broadcasting and an optional activation"
  public static let onnxName = "Add"

  public var activation: Activation
  public init(activation: Activation = .none) { self.activation = activation }

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    a + b
  }
  public static func apply(_ a: Dimension, _ b: Dimension) -> Dimension? { a.adding(b) }
}

extension Add {
  public static func affine(
    with k: Double, at position: Int
  ) -> (scale: Double, shift: Double)? { (1, k) }
  public static let isCommutative = true
  public static let keepsScores = true
  public static func neutral(at position: Int) -> Double? { 0 }
}

extension Add: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    for index in 0..<2 where builder.wants(index) {
      try builder.setGradient(of: index, summing: dy)
    }
  }
}
