// The place of the largest or smallest element. ONNX ArgMax and ArgMin, opsets 1, 11, 12 (select_last_index), 13;
// https://onnx.ai/onnx/operators/onnx__ArgMax.html

import GraftDiagnostics
import GraftIR

/// y = the index along ``axis`` of the largest element of x, or the smallest where ``isMinimum``; of equal ones the
/// first, or the last where ``selectsLast``; of a NaN, where there is one. int64.
///
/// - C1: axis is an axis of x with a constant extent that is not 0.
public struct ArgReduction: ONNXExportable {
  public static let opcode: Opcode = "arg_reduce"
  public static let group = OperatorGroup.pooling
  public static let summary = "index of the maximum or minimum along an axis"
  public static let operands: [OperandRule] = [.required("x")]
  public static let keepsScores = false

  public var isMinimum: Bool
  /// Counted from the front.
  public var axis: Int
  public var keepsAxis: Bool
  public var selectsLast: Bool

  public init(
    isMinimum: Bool = false, axis: Int, keepsAxis: Bool = true, selectsLast: Bool = false
  ) {
    self.isMinimum = isMinimum
    self.axis = axis
    self.keepsAxis = keepsAxis
    self.selectsLast = selectsLast
  }

  public init(attributes: Attributes) throws {
    self.init(
      isMinimum: try attributes.bool("minimum", default: false),
      axis: try attributes.int("axis"),
      keepsAxis: try attributes.bool("keeps_axis", default: true),
      selectsLast: try attributes.bool("selects_last", default: false))
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["axis": .int(axis)]
    if isMinimum { attributes["minimum"] = .bool(true) }
    if !keepsAxis { attributes["keeps_axis"] = .bool(false) }
    if selectsLast { attributes["selects_last"] = .bool(true) }
    return attributes
  }

  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require(
      "C1", (0..<x.rank).contains(axis) && !x.shape[axis].isBatch && x.shape[axis] != 0,
      "axis \(axis) is not an axis of \(x) with a constant extent")
    return [TensorType(.int64, reducedShape(x.shape, axes: [axis], keepsAxes: keepsAxis))]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let x): return [.integer(try places(x, extents[0]) { $0.isNaN })]
    case .float64(let x): return [.integer(try places(x, extents[0]) { $0.isNaN })]
    case .integer(let x):
      let numbers = try x.map { extent in
        guard let number = extent.constant else {
          throw GraftError(.unsupported, "the order of \(extent) depends on the batch")
        }
        return number
      }
      return [.integer(try places(numbers, extents[0]) { _ in false })]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  private func places<Element: Comparable>(
    _ x: DenseTensor<Element>, _ extents: [Int], isNaN: (Element) -> Bool
  ) throws -> DenseTensor<Dimension> {
    let inner = x.shape[(axis + 1)...].reduce(1, *)
    let extent = x.shape[axis]
    let outer = x.shape[..<axis].reduce(1, *)
    var places: [Dimension] = []
    for row in 0..<outer {
      for column in 0..<inner {
        let first = row * extent * inner + column
        var (best, place) = (x.elements[first], 0)
        for index in 1..<max(extent, 1) {
          let next = x.elements[first + index * inner]
          let isBeyond = isMinimum ? next < best : next > best
          if !isNaN(best), isBeyond || isNaN(next) || (selectsLast && next == best) {
            (best, place) = (next, index)
          }
        }
        places.append(Dimension(place))
      }
    }
    return try DenseTensor(shape: extents, elements: places)
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }

  public static let onnx = ["ArgMax", "ArgMin"].map { name in
    ONNXBinding(name) { node in
      let axis = try node.input(0).type.shape.axis(try node.int("axis", default: 0))
      try node.refuseBatch(among: [axis])
      return ImportedOperator(
        ArgReduction(
          isMinimum: name == "ArgMin", axis: axis,
          keepsAxis: try node.flag("keepdims", default: true),
          selectsLast: try node.flag("select_last_index", default: false)), operands: [0])
    }
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      isMinimum ? "ArgMin" : "ArgMax",
      attributes: [
        ("axis", .int(axis)), ("keepdims", .int(keepsAxis ? 1 : 0)),
        ("select_last_index", .int(selectsLast ? 1 : 0)),
      ], inputs: [.operand(0)])
  }
}
