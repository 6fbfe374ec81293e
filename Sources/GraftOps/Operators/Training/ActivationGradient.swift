// The derivative of a fused activation, applied to an incoming gradient: what every activation's gradient
// rule builds.

import GraftDiagnostics
import GraftIR
import RealModule

/// dx = dy · f′, where f is ``activation`` and f′ is computed from `value`: f's result or its argument, as
/// ``Activation/gradientReadsResult`` says.
///
/// - C1: dy and value have one type.
public struct ActivationGradient: RealOperator {
  public static let opcode: Opcode = "activation_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "an incoming gradient times the derivative of an activation"
  public static let operands: [OperandRule] = [.required("dy"), .required("value")]

  public var activation: Activation

  public init(activation: Activation) { self.activation = activation }
  public init(attributes: Attributes) throws { activation = try attributes.activation() }
  public var attributes: Attributes {
    var attributes = Attributes()
    attributes.set(activation)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let dy = try operand(0, of: operands)
    try requireReal("C1", dy, "dy")
    try requireSameType("C1", try operand(1, of: operands), "value", as: dy)
    return [TensorType(dy.dtype, dy.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (dy, value) = (try tensor(0, of: operands), try tensor(1, of: operands))
    return [
      try DenseTensor(
        shape: extents[0],
        elements: zip(dy.elements, activation.derivatives(value.elements)).map(*))
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public var overwritableOperands: [Int] { [0, 1] }
}
