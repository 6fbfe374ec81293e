// Shared code of reductions over axes: their attributes, their type and the walk over the elements.

import GraftDiagnostics
import GraftIR
import RealModule

/// A reduction of x over ``axes``, which are kept with extent 1 if ``keepsAxes``.
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
  public static var group: OperatorGroup { .pooling }
  public func axesWorkedAlong(rank: Int) -> [Int] { axes }
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carryReduced(axes: axes, keepsAxes: keepsAxes)
  }

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
    return TensorType(x.dtype, reducedShape(x.shape, axes: axes, keepsAxes: keepsAxes))
  }

  /// Calls `body` with the elements that come to each element of the result.
  func reduce<Scalar>(
    _ x: DenseTensor<Scalar>, to extents: [Int], _ body: (ArraySlice<Scalar>) -> Scalar
  ) throws -> DenseTensor<Scalar> {
    try reducing(x, over: axes, to: extents, body)
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }
}

/// Calls `body` with the elements that come to each element of a reduction of `x` over `axes`.
func reducing<Element>(
  _ x: DenseTensor<Element>, over axes: [Int], to extents: [Int],
  _ body: (ArraySlice<Element>) throws -> Element
) throws -> DenseTensor<Element> {
  let ordered = x.shape.indices.filter { !axes.contains($0) } + axes
  let strides = x.strides
  let count = axes.map { x.shape[$0] }.reduce(1, *)
  let elements = try strided(
    x.elements, offset: 0, strides: ordered.map { strides[$0] },
    extents: ordered.map { x.shape[$0] })
  return try DenseTensor(
    shape: extents,
    elements: try (0..<extents.reduce(1, *)).map {
      try body(elements[($0 * count)..<(($0 + 1) * count)])
    })
}

/// The shape of a reduction.
func reducedShape(_ shape: TensorShape, axes: [Int], keepsAxes: Bool) -> TensorShape {
  TensorShape(
    shape.dimensions.enumerated().compactMap { axis, extent in
      axes.contains(axis) ? (keepsAxes ? Dimension(1) : nil) : extent
    })
}

extension ONNXNode {
  /// The axes of a reduction, which older opsets have as an attribute and later ones as an input, and
  /// whether they stay. Axes are nil if nothing is to be reduced.
  func reduction(axesAreInputFrom first: Int) throws -> (axes: [Int]?, keepsAxes: Bool) {
    let rank = try input(0).type.rank
    let listed =
      try (opset >= first ? fixedIntegers(1, named: "axes") : optionalInts("axes")) ?? []
    let keepsAxes = try flag("keepdims", default: true)
    if listed.isEmpty {
      let isNothing = try opset >= first && flag("noop_with_empty_axes", default: false)
      return (isNothing ? nil : Array(0..<rank), keepsAxes)
    }
    return (try countFromFront(listed, rank: rank), keepsAxes)
  }

  /// Throws if one of `axes` grows with the batch, because an image's result must not depend on other images.
  func refuseBatch(among axes: [Int]) throws {
    let shape = try input(0).type.shape
    for axis in axes where shape[axis].isBatch {
      throw GraftError(.unsupported, "it reduces axis \(axis), the batch")
    }
  }
}

/// A reduction as ONNX writes it.
func exportedReduction(
  _ name: String, axes: [Int], keepsAxes: Bool, axesAreInputFrom first: Int, opset: Int
) throws -> ExportedOperator {
  let keeps = ONNXAttributeValue.int(keepsAxes ? 1 : 0)
  if opset < first {
    guard !axes.isEmpty else { return ExportedOperator("Identity", inputs: [.operand(0)]) }
    return ExportedOperator(
      name, attributes: [("axes", .ints(axes)), ("keepdims", keeps)], inputs: [.operand(0)])
  }
  return ExportedOperator(
    name, attributes: [("keepdims", keeps), ("noop_with_empty_axes", .int(1))],
    inputs: [.operand(0), .constant(try .vector(axes))])
}
