// The elementwise function that a kernel may apply to its result before storing it. As a node of its own
// each is an operator; as an attribute of a fused node it is this value.

import GraftDiagnostics
import GraftIR
import RealModule

/// A function of one number, applied by a fused kernel after bias and residual.
public enum Activation: Hashable, Sendable {
  case none
  /// max(x, 0)
  case relu
  /// min(max(x, low), high)
  case clip(low: Double, high: Double)
  /// x where x ≥ 0, else alpha · x
  case leakyRelu(alpha: Double)
  /// 1 / (1 + e⁻ˣ)
  case sigmoid
  case tanh
  /// min(max(alpha · x + beta, 0), 1)
  case hardSigmoid(alpha: Double, beta: Double)
  /// x · hardSigmoid(x) with alpha 1/6, beta 1/2
  case hardSwish
  /// x · sigmoid(x)
  case silu

  /// The name and the parameters as attributes store them.
  var name: String {
    switch self {
    case .none: "none"
    case .relu: "relu"
    case .clip: "clip"
    case .leakyRelu: "leaky_relu"
    case .sigmoid: "sigmoid"
    case .tanh: "tanh"
    case .hardSigmoid: "hard_sigmoid"
    case .hardSwish: "hard_swish"
    case .silu: "silu"
    }
  }

  var parameters: [Double] {
    switch self {
    case .clip(let low, let high): [low, high]
    case .leakyRelu(let alpha): [alpha]
    case .hardSigmoid(let alpha, let beta): [alpha, beta]
    default: []
    }
  }

  init(name: String, parameters: [Double]) throws {
    switch (name, parameters.count) {
    case ("none", 0): self = .none
    case ("relu", 0): self = .relu
    case ("clip", 2): self = .clip(low: parameters[0], high: parameters[1])
    case ("leaky_relu", 1): self = .leakyRelu(alpha: parameters[0])
    case ("sigmoid", 0): self = .sigmoid
    case ("tanh", 0): self = .tanh
    case ("hard_sigmoid", 2): self = .hardSigmoid(alpha: parameters[0], beta: parameters[1])
    case ("hard_swish", 0): self = .hardSwish
    case ("silu", 0): self = .silu
    default:
      throw GraftError(
        .invalidGraph,
        "there is no activation \(name.quotedForDisplay) with \(parameters.count) parameters")
    }
  }

  /// The function itself.
  public func callAsFunction<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    switch self {
    case .none: x
    case .relu: x > 0 ? x : (x.isNaN ? x : 0)
    case .clip(let low, let high): x.isNaN ? x : min(max(x, Scalar(low)), Scalar(high))
    case .leakyRelu(let alpha): x >= 0 ? x : Scalar(alpha) * x
    case .sigmoid: 1 / (1 + Scalar.exp(-x))
    case .tanh: Scalar.tanh(x)
    case .hardSigmoid(let alpha, let beta):
      x.isNaN ? x : min(max(Scalar(alpha) * x + Scalar(beta), 0), 1)
    case .hardSwish: x.isNaN ? x : x * min(max(x / 6 + 0.5, 0), 1)
    case .silu: x / (1 + Scalar.exp(-x))
    }
  }
}

extension Attributes {
  /// Reads the fused activation; none where the attribute is absent.
  public func activation() throws -> Activation {
    guard self["activation"] != nil else { return .none }
    return try Activation(
      name: string("activation"), parameters: floats("activation_parameters", default: []))
  }

  /// Writes the fused activation; nothing for none.
  mutating func set(_ activation: Activation) {
    guard activation != .none else { return }
    self["activation"] = .string(activation.name)
    if !activation.parameters.isEmpty {
      self["activation_parameters"] = .floats(activation.parameters)
    }
  }
}
