// The sum over axes, of which one may be the batch: what the gradient of broadcasting comes to, and of a
// bias.

import GraftDiagnostics
import GraftIR
import RealModule

/// y = the sum of x over ``axes``, which stay with extent 1 where ``keepsAxes``.
///
/// - C1: x has a floating-point type.
/// - C2: axes are different axes of x, ascending.
public struct ReduceSum: RealOperator {
  public static let opcode: Opcode = "reduce_sum"
  public static let summary = "sum over axes"
  public static let operands: [OperandRule] = [.required("x")]

  /// Counted from the front, ascending.
  public var axes: [Int]
  public var keepsAxes: Bool

  public init(axes: [Int], keepsAxes: Bool = false) {
    self.axes = axes
    self.keepsAxes = keepsAxes
  }

  public init(attributes: Attributes) throws {
    axes = try attributes.ints("axes")
    keepsAxes = try attributes.bool("keeps_axes", default: false)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["axes": .ints(axes)]
    if keepsAxes { attributes["keeps_axes"] = .bool(true) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    try requireAxes("C2", axes, rank: x.rank)
    let dimensions = x.shape.dimensions.enumerated().compactMap { axis, extent in
      axes.contains(axis) ? (keepsAxes ? Dimension(1) : nil) : extent
    }
    return [TensorType(x.dtype, TensorShape(dimensions))]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let kept = x.shape.indices.filter { !axes.contains($0) }
    let strides = x.strides
    let count = axes.map { x.shape[$0] }.reduce(1, *)
    let ordered = try strided(
      x.elements, offset: 0, strides: (kept + axes).map { strides[$0] },
      extents: (kept + axes).map { x.shape[$0] })
    let sums = (0..<extents[0].reduce(1, *)).map { index in
      Scalar(
        ordered[(index * count)..<((index + 1) * count)].reduce(0.0) { $0 + Double($1) })
    }
    return [try DenseTensor(shape: extents[0], elements: sums)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }

  /// Blocked where an image is summed over batch and space, to one number for each channel.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    axes == [0, 2, 3] && optionalOperand(0, of: operands)?.rank == 4 ? .reducing : .plain
  }
}
