// Softmax cross-entropy with dense targets, and its gradient. Label smoothing, class weights, mixed
// targets, a teacher's probabilities and the mean over a batch are all in the targets, which are the
// caller's.

import GraftDiagnostics
import GraftIR
import RealModule

/// loss[n] = −Σ over c of targets[n, c] · log softmax(logits[n])[c], the cross-entropy in nats.
///
/// logits and targets [batch, classes]; a row of targets may sum to any number.
///
/// - C1: logits and targets are matrices of one floating-point type and shape.
/// - C2: classes is constant and not 0.
public struct CrossEntropy: RealOperator {
  public static let opcode: Opcode = "cross_entropy"
  public static let group = OperatorGroup.training
  public static let summary = "softmax cross-entropy of each row with dense targets"
  public static let operands: [OperandRule] = [.required("logits"), .required("targets")]
  public static let resultNames = ["loss"]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let logits = try requireLogits(operands)
    return [TensorType(logits.dtype, [logits.shape[0]])]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (logits, targets) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let losses = rows(logits, targets).map { row, target in
      let shift = logSumOfExponentials(row)
      return -zip(row, target).reduce(Scalar(0)) { sum, pair in
        // A target of 0 has no loss, even if the probability is 0.
        pair.1 == 0 ? sum : sum + pair.1 * (pair.0 - shift)
      }
    }
    return [try DenseTensor(shape: extents[0], elements: losses)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(
      multiplyAdds: saturatingProduct([2, elementCount(optionalOperand(0, of: operands))]))
  }
}

/// dlogits[n, c] = softmax(logits[n])[c] · Σ targets[n] − targets[n, c]: the gradient of the sum of all
/// losses of ``CrossEntropy``, with the same constraints.
public struct CrossEntropyGradient: RealOperator {
  public static let opcode: Opcode = "cross_entropy_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradient of softmax cross-entropy"
  public static let operands: [OperandRule] = [.required("logits"), .required("targets")]
  public static let resultNames = ["dlogits"]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let logits = try requireLogits(operands)
    return [TensorType(logits.dtype, logits.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (logits, targets) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let elements = rows(logits, targets).flatMap { row, target in
      let shift = logSumOfExponentials(row)
      let total = target.reduce(0, +)
      return zip(row, target).map { Scalar.exp($0 - shift) * total - $1 }
    }
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([2, elementCount(results.first)]))
  }
}

private func requireLogits(_ operands: [TensorType?]) throws -> TensorType {
  let logits = try operand(0, of: operands)
  try requireReal("C1", logits, "logits")
  try require("C1", logits.rank == 2, "logits must be a matrix, found \(logits)")
  try requireSameType("C1", try operand(1, of: operands), "targets", as: logits)
  try require(
    "C2", (logits.shape[1].constant ?? 0) > 0, "classes must be constant, found \(logits)")
  return logits
}

private func rows<Scalar>(
  _ logits: DenseTensor<Scalar>, _ targets: DenseTensor<Scalar>
) -> [(ArraySlice<Scalar>, ArraySlice<Scalar>)] {
  let width = logits.shape[1]
  return (0..<logits.shape[0]).map {
    let range = ($0 * width)..<(($0 + 1) * width)
    return (logits.elements[range], targets.elements[range])
  }
}

private func logSumOfExponentials<Scalar: Real & BinaryFloatingPoint>(
  _ row: ArraySlice<Scalar>
) -> Scalar {
  let largest = row.reduce(-Scalar.greatestFiniteMagnitude) { Swift.max($0, $1) }
  return largest + Scalar.log(row.reduce(0) { $0 + Scalar.exp($1 - largest) })
}
