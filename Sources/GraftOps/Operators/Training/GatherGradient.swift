// The transpose of gather (scatter-add): the gradient of an embedding table. Only
// gradient rules create it.

import GraftDiagnostics
import GraftIR
import RealModule

/// dx has along ``axis`` ``extent`` rows in place of the axes of indices: dx[…, j, …] = the sum of dy[…, i…,
/// …] over all i… whose index is j, in ascending order of i…. Rows that no index names are zero.
///
/// Operands: dy […, axes of indices…, …]; indices of int32 or int64, negative ones counted from the end.
/// Kernels take the nearest index for one outside, as those of ``Gather`` do, and the reference evaluator
/// throws.
///
/// - C1: dy has a floating-point type.
/// - C2: indices are integers, and dy has their extents from axis on.
/// - C3: extent is at least 1.
public struct GatherGradient: Operator {
  public static let opcode: Opcode = "gather_gradient"
  public static let summary = "gradient of gather"
  public static let operands: [OperandRule] = [.required("dy"), .required("indices")]
  public static let resultNames = ["dx"]
  public static let group = OperatorGroup.training

  /// Counted from the front.
  public var axis: Int
  public var extent: Int

  public init(axis: Int, extent: Int) {
    self.axis = axis
    self.extent = extent
  }

  public init(attributes: Attributes) throws {
    axis = try attributes.int("axis")
    extent = try attributes.int("extent")
  }

  public var attributes: Attributes { ["axis": .int(axis), "extent": .int(extent)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let dy = try operand(0, of: operands)
    let indices = try operand(1, of: operands)
    try requireReal("C1", dy, "dy")
    try require(
      "C2",
      indices.dtype.isInteger && axis >= 0 && indices.rank <= dy.rank
        && axis <= dy.rank - indices.rank
        && Array(dy.shape.dimensions[axis..<(axis + indices.rank)]) == indices.shape.dimensions,
      "dy must have the axes of indices from axis \(axis) on, found \(dy) and \(indices)")
    try require(
      "C3", (1...TensorShape.largestElementCount).contains(extent),
      "the extent \(extent) must be at least 1")
    return [
      TensorType(
        dy.dtype,
        TensorShape(
          dy.shape.dimensions[..<axis] + [Dimension(extent)]
            + dy.shape.dimensions[(axis + indices.rank)...]))
    ]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, case .integer(let indices)? = operands[1] else {
      throw GraftError(.invalidGraph, "indices must be integers [C2]")
    }
    switch operands[0] {
    case .float32(let dy): return [.float32(try scatter(dy, indices, extents[0]))]
    case .float64(let dy): return [.float64(try scatter(dy, indices, extents[0]))]
    default: throw GraftError(.invalidGraph, "dy must be a floating-point tensor [C1]")
    }
  }

  private func scatter<Scalar: Real & Sendable>(
    _ dy: DenseTensor<Scalar>, _ indices: DenseTensor<Dimension>, _ extents: [Int]
  ) throws -> DenseTensor<Scalar> {
    let inner = extents[(axis + 1)...].reduce(1, *)
    let rows = try indices.elements.map { index -> Int in
      guard let index = index.constant, index >= -extent, index < extent else {
        throw GraftError(.invalidGraph, "index \(index) is outside \(extent)")
      }
      return index < 0 ? index + extent : index
    }
    var elements = Array(repeating: Scalar.zero, count: extents.reduce(1, *))
    for outer in 0..<extents[..<axis].reduce(1, *) {
      for (position, row) in rows.enumerated() {
        let (from, to) = ((outer * rows.count + position) * inner, (outer * extent + row) * inner)
        for column in 0..<inner { elements[to + column] += dy.elements[from + column] }
      }
    }
    return try DenseTensor(shape: extents, elements: elements)
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }
}
