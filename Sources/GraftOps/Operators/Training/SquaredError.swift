// The squared error of a regression, and its gradient.

import GraftDiagnostics
import GraftIR
import RealModule

/// loss[n] = weights[n] · Σ (y[n, …] − targets[n, …])². With weights of 1 / (batch · elements of a row) the
/// sum of all losses is the mean squared error.
///
/// y and targets [batch, …]; weights [batch].
///
/// - C1: y and targets have one floating-point type and shape, of rank 1 or more.
/// - C2: weights are [batch].
public struct SquaredError: RealOperator {
  public static let opcode: Opcode = "squared_error"
  public static let group = OperatorGroup.training
  public static let summary = "weighted squared error of each row"
  public static let operands: [OperandRule] = [
    .required("y"), .required("targets"), .required("weights"),
  ]
  public static let resultNames = ["loss"]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let y = try requireRegression(operands)
    return [TensorType(y.dtype, [y.shape[0]])]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (y, targets) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let weights = try tensor(2, of: operands).elements
    let width = y.shape.dropFirst().reduce(1, *)
    let losses = weights.indices.map { n in
      weights[n]
        * (n * width..<(n + 1) * width).reduce(Scalar(0)) { sum, i in
          let difference = y.elements[i] - targets.elements[i]
          return sum + difference * difference
        }
    }
    return [try DenseTensor(shape: extents[0], elements: losses)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }
}

/// dy[n, …] = 2 · weights[n] · (y[n, …] − targets[n, …]): the gradient of the sum of all losses of
/// ``SquaredError``, with the same constraints.
public struct SquaredErrorGradient: RealOperator {
  public static let opcode: Opcode = "squared_error_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradient of a weighted squared error"
  public static let operands: [OperandRule] = SquaredError.operands
  public static let resultNames = ["dy"]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let y = try requireRegression(operands)
    return [TensorType(y.dtype, y.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (y, targets) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let weights = try tensor(2, of: operands).elements
    let width = max(1, y.shape.dropFirst().reduce(1, *))
    let elements = y.elements.indices.map {
      2 * weights[$0 / width] * (y.elements[$0] - targets.elements[$0])
    }
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }
}

private func requireRegression(_ operands: [TensorType?]) throws -> TensorType {
  let y = try operand(0, of: operands)
  try requireReal("C1", y, "y")
  try require("C1", y.rank >= 1, "y must have a batch axis, found \(y)")
  try requireSameType("C1", try operand(1, of: operands), "targets", as: y)
  let weights = try operand(2, of: operands)
  try require(
    "C2", weights.dtype == y.dtype && weights.shape == TensorShape([y.shape[0]]),
    "weights must be \(y.dtype.rawValue)[\(y.shape[0])], found \(weights)")
  return y
}
