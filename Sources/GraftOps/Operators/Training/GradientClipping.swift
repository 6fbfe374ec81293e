// Clipping by the global norm, and adding gradients up over several micro-batches.

import GraftDiagnostics
import GraftIR
import RealModule

/// y[0] = Σ x², in double precision inside.
///
/// - C1: x has a floating-point type and a constant shape.
public struct SquareSum: UpdateOperator {
  public static let updateStage = UpdateStage.everyUpdate
  public static let opcode: Opcode = "square_sum"
  public static let group = OperatorGroup.training
  public static let summary = "sum of the squares of all elements"
  public static let operands: [OperandRule] = [.required("x")]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    try require("C1", x.shape.constants != nil, "x must have a constant shape, found \(x)")
    return [TensorType(x.dtype, [1])]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let sum = try tensor(0, of: operands).elements.reduce(0.0) { $0 + Double($1) * Double($1) }
    return [try DenseTensor(shape: [1], elements: [Scalar(sum)])]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }
}

/// y[0] = min(1, settings[0] / (√Σ sums + 10⁻⁶)): what gradients are multiplied by so that their global
/// norm is at most settings[0] (Pascanu et al. 2013; the constant is PyTorch's).
///
/// Operands: settings [8]; sums, any number of [1].
///
/// - C1: settings are [8], of a floating-point type.
/// - C2: every sum is [1] of that type.
public struct ClipFactor: UpdateOperator {
  public static let updateStage = UpdateStage.everyUpdate
  public static let opcode: Opcode = "clip_factor"
  public static let group = OperatorGroup.training
  public static let summary = "the factor that clips the norm of all gradients"
  public static let operands: [OperandRule] = [.required("settings"), .variadic("sums")]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let settings = try requireSettings("C1", operands, 0)
    for index in operands.indices.dropFirst() {
      let sum = try operand(index, of: operands)
      try require(
        "C2", sum.dtype == settings.dtype && sum.shape == [1], "a sum must be [1], found \(sum)")
    }
    return [TensorType(settings.dtype, [1])]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let limit = try tensor(0, of: operands)
      .elements[TrainingInterface.Setting.clipNorm.rawValue]
    let sum = operands.dropFirst().reduce(0.0) { $0 + Double($1?.elements.first ?? 0) }
    let factor = Double(limit) / (sum.squareRoot() + 1e-6)
    return [try DenseTensor(shape: [1], elements: [Scalar(Swift.min(1, factor))])]
  }
}

/// y = gradient + settings[1] · sum: the gradient of a micro-batch added to those before it; settings[1] is
/// 0 for the first micro-batch of a step and 1 for the others.
///
/// - C1: sum and gradient have one floating-point type and a constant shape.
/// - C2: settings are [8] of that type.
public struct Accumulate: StateUpdate {
  public static let updateStage = UpdateStage.everyMicroBatch
  public static let opcode: Opcode = "accumulate"
  public static let group = OperatorGroup.training
  public static let summary = "accumulates the gradients of micro-batches"
  public static let operands: [OperandRule] = [
    .required("sum"), .required("gradient"), .required("settings"),
  ]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let sum = try operand(0, of: operands)
    try requireReal("C1", sum, "sum")
    try require("C1", sum.shape.constants != nil, "sum must have a constant shape, found \(sum)")
    try requireSameType("C1", try operand(1, of: operands), "gradient", as: sum)
    _ = try requireSettings("C2", operands, 2)
    return [TensorType(sum.dtype, sum.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (sum, gradient) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let keep = try tensor(2, of: operands)
      .elements[TrainingInterface.Setting.keptGradients.rawValue]
    return [
      try DenseTensor(
        shape: extents[0],
        elements: zip(sum.elements, gradient.elements).map { keep == 0 ? $1 : $1 + keep * $0 })
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public var overwritableOperands: [Int] { [0, 1] }
}

/// The settings of a step at operand `index`, which must be [8].
private func requireSettings(
  _ label: String, _ operands: [TensorType?], _ index: Int
) throws -> TensorType {
  let settings = try operand(index, of: operands)
  try requireReal(label, settings, "settings")
  let count = TrainingInterface.settingCount
  try require(
    label, settings.shape == [Dimension(count)], "settings must be [\(count)], found \(settings)")
  return settings
}
