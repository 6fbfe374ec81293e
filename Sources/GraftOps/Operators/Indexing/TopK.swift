// The largest or smallest elements along an axis. ONNX TopK, opsets 1 (k as an attribute), 10, 11 (smallest,
// unsorted); https://onnx.ai/onnx/operators/onnx__TopK.html

import GraftDiagnostics
import GraftIR

/// values = the ``count`` largest elements of x along ``axis``, or the smallest, in order; indices = where they are,
/// int64. Of equal ones those with the lower index come first; a NaN is larger than every number.
///
/// - C1: axis is an axis of x with a constant extent of at least count, which is at least 1.
public struct TopK: ONNXExportable {
  public static let opcode: Opcode = "top_k"
  public static let group = OperatorGroup.pooling
  public static let summary = "the largest or smallest elements along an axis and their indices"
  public static let operands: [OperandRule] = [.required("x")]
  public static let resultNames = ["values", "indices"]
  public static let keepsScores = false

  public var count: Int
  /// Counted from the front.
  public var axis: Int
  public var takesSmallest: Bool

  public init(count: Int, axis: Int, takesSmallest: Bool = false) {
    self.count = count
    self.axis = axis
    self.takesSmallest = takesSmallest
  }

  public init(attributes: Attributes) throws {
    self.init(
      count: try attributes.int("count"), axis: try attributes.int("axis"),
      takesSmallest: try attributes.bool("smallest", default: false))
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["count": .int(count), "axis": .int(axis)]
    if takesSmallest { attributes["smallest"] = .bool(true) }
    return attributes
  }

  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require(
      "C1", (0..<x.rank).contains(axis) && count >= 1 && (x.shape[axis].constant ?? 0) >= count,
      "axis \(axis) of \(x) must have a constant extent of at least \(count)")
    var shape = x.shape
    shape[axis] = Dimension(count)
    return [TensorType(x.dtype, shape), TensorType(.int64, shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let x):
      let (values, places) = try chosen(x, extents[0]) { $1.isNaN ? false : $0.isNaN || $0 > $1 }
      return [.float32(values), .integer(places)]
    case .float64(let x):
      let (values, places) = try chosen(x, extents[0]) { $1.isNaN ? false : $0.isNaN || $0 > $1 }
      return [.float64(values), .integer(places)]
    case .integer(let x):
      let (values, places) = try chosen(x, extents[0]) { a, b in
        guard let order = a.compared(to: b) else {
          throw GraftError(.unsupported, "the order of \(a) and \(b) depends on the batch")
        }
        return order > 0
      }
      return [.integer(values), .integer(places)]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  private func chosen<Element>(
    _ x: DenseTensor<Element>, _ extents: [Int],
    _ isLarger: (Element, Element) throws -> Bool
  ) throws -> (DenseTensor<Element>, DenseTensor<Dimension>) {
    let inner = x.shape[(axis + 1)...].reduce(1, *)
    let extent = x.shape[axis]
    let total = extents.reduce(1, *)
    guard let first = x.elements.first else {
      throw GraftError(.invalidGraph, "there is nothing to choose from [C1]")
    }
    var values = Array(repeating: first, count: total)
    var places = Array(repeating: Dimension(0), count: total)
    for row in 0..<x.shape[..<axis].reduce(1, *) {
      for column in 0..<inner {
        let start = row * extent * inner + column
        let order = try (0..<extent).sorted { a, b in
          let (left, right) = (x.elements[start + a * inner], x.elements[start + b * inner])
          let isBefore = try takesSmallest ? isLarger(right, left) : isLarger(left, right)
          let isAfter = try takesSmallest ? isLarger(left, right) : isLarger(right, left)
          return isBefore || (!isAfter && a < b)
        }
        for (rank, index) in order.prefix(count).enumerated() {
          let to = (row * count + rank) * inner + column
          values[to] = x.elements[start + index * inner]
          places[to] = Dimension(index)
        }
      }
    }
    return (
      try DenseTensor(shape: extents, elements: values),
      try DenseTensor(shape: extents, elements: places)
    )
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }

  public static let onnx = [
    ONNXBinding("TopK") { node in
      let axis = try node.input(0).type.shape.axis(try node.int("axis", default: -1))
      try node.refuseBatch(among: [axis])
      let count =
        try node.opset >= 10
        ? node.constantScalar(1, named: "K")?.whole : node.int("k", default: 0)
      guard let count else { throw GraftError(.unsupported, "K must be constant") }
      return ImportedOperator(
        TopK(
          count: count, axis: axis, takesSmallest: try !node.flag("largest", default: true)),
        operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "TopK", attributes: [("axis", .int(axis)), ("largest", .int(takesSmallest ? 0 : 1))],
      inputs: [.operand(0), .constant(try .vector([count]))])
  }
}

extension TopK: DifferentiableOperator {
  /// dy of the values, at the places from which they came.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let zeros = try builder.apply(
      Expand(shape: builder.shape(of: x)), [try builder.scalar(0, like: x)])
    let places = builder.node.results[1]
    try builder.setGradient(
      of: 0,
      try builder.apply(
        ScatterElements(axis: axis, reduction: .add), [zeros, places, try builder.incoming()]))
  }
}
