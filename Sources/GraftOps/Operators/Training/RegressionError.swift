// The error of a regression, and its gradient.

import GraftDiagnostics
import GraftIR
import RealModule

/// What a regression makes of the difference d of a result and its target.
public enum ErrorMeasure: String, Hashable, Sendable, CaseIterable {
  /// d²
  case squared
  /// |d|, whose slope at 0 is 0, as PyTorch's L1Loss has it.
  case absolute
  /// √(d² + ε²) with ε = 10⁻³: Charbonnier et al. 1994, with the ε of Lai et al. 2017.
  case charbonnier

  public static let epsilon = 1e-3

  public func callAsFunction<Scalar: Real & BinaryFloatingPoint>(_ d: Scalar) -> Scalar {
    switch self {
    case .squared: d * d
    case .absolute: abs(d)
    case .charbonnier: (d * d + Scalar(Self.epsilon * Self.epsilon)).squareRoot()
    }
  }

  public func slope<Scalar: Real & BinaryFloatingPoint>(_ d: Scalar) -> Scalar {
    switch self {
    case .squared: 2 * d
    case .absolute: d > 0 ? 1 : d < 0 ? -1 : d
    case .charbonnier: d / self(d)
    }
  }

}

/// An operator on the results and targets of a regression, with a weight for each item.
public protocol MeasuringOperator: RealOperator {
  var measure: ErrorMeasure { get }
  init(_ measure: ErrorMeasure)
}

extension MeasuringOperator {
  public static var group: OperatorGroup { .training }
  public static var operands: [OperandRule] {
    [.required("y"), .required("targets"), .required("weights")]
  }

  public init(attributes: Attributes) throws {
    let name = try attributes.string("measure", default: ErrorMeasure.squared.rawValue)
    guard let measure = ErrorMeasure(rawValue: name) else {
      throw GraftError(.invalidGraph, "no error is measured as \(name.quotedForDisplay)")
    }
    self.init(measure)
  }
  public var attributes: Attributes {
    measure == .squared ? [:] : ["measure": .string(measure.rawValue)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }
}

/// loss[n] = weights[n] · Σ measure(y[n, …] − targets[n, …]). With weights of 1 / (batch · elements of a row) the
/// sum of all losses is the mean error.
///
/// y and targets [batch, …]; weights [batch].
///
/// - C1: y and targets have one floating-point type and shape, of rank 1 or more.
/// - C2: weights are [batch].
public struct RegressionError: MeasuringOperator {
  public static let opcode: Opcode = "regression_error"
  public static let summary = "weighted error of each row"
  public static let resultNames = ["loss"]

  public var measure: ErrorMeasure
  public init(_ measure: ErrorMeasure) { self.measure = measure }

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
          sum + measure(y.elements[i] - targets.elements[i])
        }
    }
    return [try DenseTensor(shape: extents[0], elements: losses)]
  }
}

/// dy[n, …] = weights[n] · measure′(y[n, …] − targets[n, …]): the gradient of the sum of all losses of
/// ``RegressionError``, with the same constraints.
public struct RegressionErrorGradient: MeasuringOperator {
  public static let opcode: Opcode = "regression_error_gradient"
  public static let summary = "gradient of a weighted error"
  public static let resultNames = ["dy"]

  public var measure: ErrorMeasure
  public init(_ measure: ErrorMeasure) { self.measure = measure }

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
      weights[$0 / width] * measure.slope(y.elements[$0] - targets.elements[$0])
    }
    return [try DenseTensor(shape: extents[0], elements: elements)]
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
