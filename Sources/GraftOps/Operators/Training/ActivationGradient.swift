// The derivative of a fused activation, applied to an incoming gradient: what every activation's gradient
// rule builds.

import GraftDiagnostics
import GraftIR
import RealModule

extension Activation {
  /// Whether the derivative is computed from the activation's result, so that training need not keep its
  /// argument; otherwise it is computed from the argument.
  public var gradientReadsResult: Bool {
    switch self {
    case .none, .relu, .clip, .sigmoid, .tanh, .hardSigmoid: true
    case .leakyRelu(let alpha): alpha > 0
    case .hardSwish, .silu: false
    }
  }

  /// The derivative, from the result or the argument as ``gradientReadsResult`` says. Where a function has
  /// a corner, the derivative is PyTorch's: 0 at the corner of relu and at both ends of clip and
  /// hard_sigmoid, alpha at that of leaky_relu.
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    switch self {
    case .none: return 1
    case .relu: return value > 0 ? 1 : 0
    case .clip(let low, let high): return value > Scalar(low) && value < Scalar(high) ? 1 : 0
    case .leakyRelu(let alpha): return value > 0 ? 1 : Scalar(alpha)
    case .sigmoid: return value * (1 - value)
    case .tanh: return 1 - value * value
    case .hardSigmoid(let alpha, _): return value > 0 && value < 1 ? Scalar(alpha) : 0
    case .hardSwish:
      if value <= -3 { return 0 }
      return value < 3 ? value / 3 + 0.5 : 1
    case .silu:
      let sigmoid = 1 / (1 + Scalar.exp(-value))
      return sigmoid * (1 + value * (1 - sigmoid))
    }
  }
}

/// dx = dy · f′, where f is ``activation`` and f′ is computed from `value`: f's result or its argument, as
/// ``Activation/gradientReadsResult`` says.
///
/// - C1: dy and value have one type.
public struct ActivationGradient: RealOperator {
  public static let opcode: Opcode = "activation_gradient"
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
        elements: zip(dy.elements, value.elements).map { $0 * activation.derivative($1) })
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
