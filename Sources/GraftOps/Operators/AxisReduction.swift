// What the reductions over axes share: their attributes, their type and the walk over the elements.

import GraftDiagnostics
import GraftIR
import RealModule

/// A reduction of x over ``axes``, which stay with extent 1 where ``keepsAxes``.
///
/// - C1: x has a floating-point type.
/// - C2: axes are different axes of x, ascending.
public protocol AxisReduction: RealOperator {
  /// Counted from the front, ascending.
  var axes: [Int] { get set }
  var keepsAxes: Bool { get set }
  /// What an absent attribute means.
  static var keepsAxesByDefault: Bool { get }
  init(axes: [Int], keepsAxes: Bool)
}

extension AxisReduction {
  public static var operands: [OperandRule] { [.required("x")] }

  public init(attributes: Attributes) throws {
    self.init(
      axes: try attributes.ints("axes"),
      keepsAxes: try attributes.bool("keeps_axes", default: Self.keepsAxesByDefault))
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["axes": .ints(axes)]
    if keepsAxes != Self.keepsAxesByDefault { attributes["keeps_axes"] = .bool(keepsAxes) }
    return attributes
  }

  /// The type of the result; checks C1 and C2.
  func reducedType(of x: TensorType) throws -> TensorType {
    try requireReal("C1", x)
    try requireAxes("C2", axes, rank: x.rank)
    let dimensions = x.shape.dimensions.enumerated().compactMap { axis, extent in
      axes.contains(axis) ? (keepsAxes ? Dimension(1) : nil) : extent
    }
    return TensorType(x.dtype, TensorShape(dimensions))
  }

  /// Calls `body` with the elements that come to each element of the result.
  func reduce<Scalar>(
    _ x: DenseTensor<Scalar>, to extents: [Int], _ body: (ArraySlice<Scalar>) -> Scalar
  ) throws -> DenseTensor<Scalar> {
    let ordered = x.shape.indices.filter { !axes.contains($0) } + axes
    let strides = x.strides
    let count = axes.map { x.shape[$0] }.reduce(1, *)
    let elements = try strided(
      x.elements, offset: 0, strides: ordered.map { strides[$0] },
      extents: ordered.map { x.shape[$0] })
    return try DenseTensor(
      shape: extents,
      elements: (0..<extents.reduce(1, *)).map {
        body(elements[($0 * count)..<(($0 + 1) * count)])
      })
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }
}
