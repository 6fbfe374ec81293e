// The gradient of a fully connected layer's weights.

import GraftDiagnostics
import GraftIR
import RealModule

/// y[p, q] = Σ over n of a[n, p] · b[n, q].
///
/// - C1: a and b are matrices of one floating-point type and as many rows.
/// - C2: their columns are constant.
public struct BatchOuterProduct: RealOperator {
  public static let opcode: Opcode = "batch_outer_product"
  public static let group = OperatorGroup.training
  public static let summary = "sum over the batch of outer products of rows"
  public static let operands: [OperandRule] = [.required("a"), .required("b")]

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let (a, b) = (try operand(0, of: operands), try operand(1, of: operands))
    try requireReal("C1", a, "a")
    try require(
      "C1", a.rank == 2 && b.rank == 2 && a.dtype == b.dtype && a.shape[0] == b.shape[0],
      "a and b must be matrices of one type with equal row counts, found \(a) and \(b)")
    try require(
      "C2", !a.shape[1].isBatch && !b.shape[1].isBatch,
      "the columns must be constant, found \(a) and \(b)")
    return [TensorType(a.dtype, [a.shape[1], b.shape[1]])]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (a, b) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let (rows, columns) = (extents[0][0], extents[0][1])
    var y = DenseTensor<Scalar>(shape: extents[0], repeating: 0)
    for n in 0..<a.shape[0] {
      for p in 0..<rows {
        let factor = a.elements[n * rows + p]
        for q in 0..<columns { y.elements[p * columns + q] += factor * b.elements[n * columns + q] }
      }
    }
    return [y]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }
}
