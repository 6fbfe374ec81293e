// One step of an optimizer for one tensor, and the running statistics of a normalization. Their results are
// new values of state tensors, which they are the last to read and write in place.

import GraftDiagnostics
import GraftIR
import RealModule

/// Stochastic gradient descent as PyTorch defines it: g ← factor · gradient + decay · w;
/// m ← momentum · m + g; w ← w − rate · m, or with Nesterov's momentum w − rate · (g + momentum · m).
///
/// Operands: w, gradient and, with momentum, m of one shape; hyperparameters [groups, 8]; factor [1], from
/// ``ClipFactor``. Results: w and m.
///
/// - C1: w has a floating-point type and a constant shape, gradient and m the same.
/// - C2: hyperparameters are [groups, 8] with more than ``group`` rows; factor is [1].
/// - C3: Nesterov's momentum needs m.
public struct SGDUpdate: OptimizerUpdate {
  public static let opcode: Opcode = "sgd_update"
  public static let group = OperatorGroup.training
  public static let summary = "one SGD step"
  public static let operands: [OperandRule] = [
    .required("w"), .required("gradient"), .required("hyperparameters"), .optional("momentum"),
    .optional("factor"),
  ]
  public static let resultNames = ["w", "momentum"]

  /// The row of `hyperparameters`.
  public var group: Int
  public var isNesterov: Bool

  public init(group: Int = 0, isNesterov: Bool = false) {
    self.group = group
    self.isNesterov = isNesterov
  }

  public init(attributes: Attributes) throws {
    group = try attributes.int("group")
    isNesterov = try attributes.bool("nesterov", default: false)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["group": .int(group)]
    if isNesterov { attributes["nesterov"] = .bool(true) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let w = try requireUpdate(operands, slots: [3], hyperparameters: 2, factor: 4, group: group)
    let hasMomentum = optionalOperand(3, of: operands) != nil
    try require("C3", hasMomentum || !isNesterov, "Nesterov momentum needs momentum")
    return Array(repeating: w, count: hasMomentum ? 2 : 1)
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (w, gradient) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let row = try row(group, of: try tensor(2, of: operands))
    let momentum = optionalTensor(3, of: operands)
    let factor = optionalTensor(4, of: operands)?.elements[0] ?? 1
    let (rate, decay) = (row(.learningRate), row(.weightDecay))
    var (weights, slot) = (w, momentum)
    for i in w.elements.indices {
      let g = factor * gradient.elements[i] + decay * w.elements[i]
      var direction = g
      if let old = momentum?.elements[i] {
        let new = row(.momentum) * old + g
        slot?.elements[i] = new
        direction = isNesterov ? g + row(.momentum) * new : new
      }
      weights.elements[i] = w.elements[i] - rate * direction
    }
    return [weights] + (slot.map { [$0] } ?? [])
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([3, elementCount(results.first)]))
  }
}

/// Adam (Kingma and Ba 2015, algorithm 1), with decay added to the gradient, or with ``isDecoupled`` taken
/// from the weights first (AdamW: Loshchilov and Hutter 2019), as PyTorch defines both:
/// m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²; w ← w − rate / c₁ · m / (√v / √c₂ + ε), with the bias
/// corrections cᵢ = 1 − βᵢᵗ.
///
/// Operands: w, gradient, m and v of one shape; hyperparameters [groups, 8]; factor [1]. Results: w, m, v.
///
/// - C1: w has a floating-point type and a constant shape, gradient, m and v the same.
/// - C2: hyperparameters are [groups, 8] with more than ``group`` rows; factor is [1].
public struct AdamUpdate: OptimizerUpdate {
  public static let opcode: Opcode = "adam_update"
  public static let group = OperatorGroup.training
  public static let summary = "one Adam or AdamW step"
  public static let operands: [OperandRule] = [
    .required("w"), .required("gradient"), .required("hyperparameters"), .required("first_moment"),
    .required("second_moment"), .optional("factor"),
  ]
  public static let resultNames = ["w", "first_moment", "second_moment"]

  /// The row of `hyperparameters`.
  public var group: Int
  public var isDecoupled: Bool

  public init(group: Int = 0, isDecoupled: Bool = false) {
    self.group = group
    self.isDecoupled = isDecoupled
  }

  public init(attributes: Attributes) throws {
    group = try attributes.int("group")
    isDecoupled = try attributes.bool("decoupled", default: false)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["group": .int(group)]
    if isDecoupled { attributes["decoupled"] = .bool(true) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let w = try requireUpdate(
      operands, slots: [3, 4], hyperparameters: 2, factor: 5, group: group)
    return Array(repeating: w, count: 3)
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (w, gradient) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let row = try row(group, of: try tensor(2, of: operands))
    let (m, v) = (try tensor(3, of: operands), try tensor(4, of: operands))
    let factor = optionalTensor(5, of: operands)?.elements[0] ?? 1
    let (beta1, beta2, decay) = (row(.beta1), row(.beta2), row(.weightDecay))
    let rate = row(.learningRate)
    var (weights, first, second) = (w, m, v)
    for i in w.elements.indices {
      var (value, g) = (w.elements[i], factor * gradient.elements[i])
      if isDecoupled { value -= rate * decay * value } else { g += decay * value }
      first.elements[i] = beta1 * m.elements[i] + (1 - beta1) * g
      second.elements[i] = beta2 * v.elements[i] + (1 - beta2) * g * g
      let denominator =
        second.elements[i].squareRoot() / row(.biasCorrection2).squareRoot() + row(.epsilon)
      weights.elements[i] =
        value - rate / row(.biasCorrection1) * first.elements[i] / denominator
    }
    return [weights, first, second]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([8, elementCount(results.first)]))
  }
}

/// y = (1 − momentum) · old + momentum · new: the running statistics of a normalization.
///
/// - C1: old and new have one floating-point type and a constant shape.
/// - C2: momentum is in 0...1.
public struct MovingAverage: StateUpdate {
  public static let updateStage = UpdateStage.everyMicroBatch
  public static let opcode: Opcode = "moving_average"
  public static let group = OperatorGroup.training
  public static let summary = "update of running statistics by exponential moving average"
  public static let operands: [OperandRule] = [.required("old"), .required("new")]

  public var momentum: Double

  public init(momentum: Double = 0.1) { self.momentum = momentum }
  public init(attributes: Attributes) throws { momentum = try attributes.float("momentum") }
  public var attributes: Attributes { ["momentum": .float(momentum)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let old = try operand(0, of: operands)
    try requireReal("C1", old, "old")
    try require("C1", old.shape.constants != nil, "old must have a constant shape, found \(old)")
    try requireSameType("C1", try operand(1, of: operands), "new", as: old)
    try require(
      "C2", (0...1).contains(momentum), "momentum must be in 0...1, found \(momentum)")
    return [TensorType(old.dtype, old.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (old, new) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let share = Scalar(momentum)
    return [
      try DenseTensor(
        shape: extents[0],
        elements: zip(old.elements, new.elements).map { (1 - share) * $0 + share * $1 })
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }
}

/// Checks what every optimizer reads; the type of w in plain layout.
private func requireUpdate(
  _ operands: [TensorType?], slots: [Int], hyperparameters: Int, factor: Int, group: Int
) throws -> TensorType {
  let w = try operand(0, of: operands)
  try requireReal("C1", w, "w")
  try require("C1", w.shape.constants != nil, "w must have a constant shape, found \(w)")
  for index in [1] + slots {
    if let type = optionalOperand(index, of: operands) {
      try requireSameType("C1", type, "operand \(index)", as: w)
    }
  }
  let table = try operand(hyperparameters, of: operands)
  try require(
    "C2",
    table.dtype == w.dtype && table.rank == 2
      && table.shape[1] == Dimension(TrainingInterface.hyperparameterCount) && group >= 0
      && group < (table.shape[0].constant ?? 0),
    "hyperparameters must be [groups, \(TrainingInterface.hyperparameterCount)] with more than \(group) "
      + "rows, found \(table)")
  if let type = optionalOperand(factor, of: operands) {
    try require(
      "C2", type.dtype == w.dtype && type.shape == [1], "factor must be [1], found \(type)")
  }
  return TensorType(w.dtype, w.shape)
}

/// Reads the columns of one row of the hyperparameters.
private func row<Scalar: BinaryFloatingPoint & Sendable>(
  _ group: Int, of table: DenseTensor<Scalar>
) throws -> (Hyperparameter) -> Scalar {
  let width = TrainingInterface.hyperparameterCount
  guard group >= 0, table.elements.count >= (group + 1) * width else {
    throw GraftError(.invalidGraph, "the hyperparameters have no row \(group)")
  }
  return { table.elements[group * width + $0.rawValue] }
}
