// Elementwise quotient of two tensors. ONNX Div, opsets 7, 13, 14;
// https://onnx.ai/onnx/operators/onnx__Div.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = activation(a / b) with multidirectional broadcasting. Integers divide towards zero.
public struct Divide: BinaryElementwise {
  public static let opcode: Opcode = "div"
  public static let summary = "a / b with broadcasting and an optional activation"
  public static let onnxName = "Div"

  public var activation: Activation
  public init(activation: Activation = .none) { self.activation = activation }

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    a / b
  }

  public static func apply(_ a: Dimension, _ b: Dimension) -> Dimension? {
    guard let dividend = a.constant, let divisor = b.constant else { return a.divided(by: b) }
    guard divisor != 0 else { return nil }
    let (quotient, overflow) = dividend.dividedReportingOverflow(by: divisor)
    return overflow ? nil : Dimension(quotient)
  }

  /// Shape values that were cast to floating point divide exactly or not at all.
  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard try operand(0, of: types).dtype.isFloatingPoint else {
      return try foldPair(types, values, Self.applyToShapes).map { [$0] }
    }
    guard let quotients = try foldPair(types, values, { $0.divided(by: $1) }) else { return nil }
    let known = quotients.elements.compactMap(\.self)
    guard known.count == quotients.elements.count else { return nil }
    return [try DenseTensor(shape: quotients.shape, elements: known)]
  }
}

extension Divide {
  public static func affine(
    with k: Double, at position: Int
  ) -> (scale: Double, shift: Double)? { position == 0 ? nil : (1 / k, 0) }
  public static func neutral(at position: Int) -> Double? { position == 1 ? 1 : nil }
}

extension Divide: DifferentiableOperator {
  /// With y = a / b: da = dy / b and db = −da · y.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    guard activation == .none else {
      throw GraftError(.unsupported, "the gradient of a division with a fused activation")
    }
    let share = try builder.apply(Divide(), [try builder.incoming(), try builder.operand(1)])
    if builder.wants(0) { try builder.setGradient(of: 0, summing: share) }
    if builder.wants(1) {
      let product = try builder.apply(Multiply(), [share, builder.result()])
      try builder.setGradient(of: 1, summing: try builder.apply(Negate(), [product]))
    }
  }
}
