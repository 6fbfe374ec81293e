// Elements along an axis, each by an index of its own. ONNX GatherElements, opsets 11, 13;
// https://onnx.ai/onnx/operators/onnx__GatherElements.html

import GraftDiagnostics
import GraftIR

/// y has the shape of indices: y[…, i, …] = x[…, indices[…, i, …], …] on axis ``axis``. Negative indices count from
/// the end.
///
/// Operands: x of any element type; indices of int32 or int64; where they are computed, kernels take the nearest
/// index for one outside, and the reference evaluator throws.
///
/// - C1: axis is an axis of x with a constant extent that is not 0.
/// - C2: indices are integers of the rank of x, with extents of at most those of x on the other axes.
public struct GatherElements: ONNXExportable {
  public static let opcode: Opcode = "gather_elements"
  public static let group = OperatorGroup.movement
  public static let summary = "elements along an axis, each by its own index"
  public static let operands: [OperandRule] = [.required("x"), .required("indices")]

  /// Counted from the front.
  public var axis: Int

  public init(axis: Int) { self.axis = axis }
  public init(attributes: Attributes) throws { axis = try attributes.int("axis") }
  public var attributes: Attributes { ["axis": .int(axis)] }

  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let indices = try operand(1, of: operands)
    try requireElementIndices(x, indices, axis: axis)
    return [TensorType(x.dtype, indices.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, case .integer(let indices)? = operands[1] else {
      throw GraftError(.invalidGraph, "indices must be integers [C2]")
    }
    switch operands[0] {
    case .float32(let x): return [.float32(try gather(x, indices))]
    case .float64(let x): return [.float64(try gather(x, indices))]
    case .integer(let x): return [.integer(try gather(x, indices))]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard values.count == 2, let x = values[0], let indices = values[1],
      try foldableExtents(types) != nil
    else { return nil }
    return [try gather(x, indices)]
  }

  private func gather<Element>(
    _ x: DenseTensor<Element>, _ indices: DenseTensor<Dimension>
  ) throws -> DenseTensor<Element> {
    let strides = x.strides
    var elements: [Element] = []
    elements.reserveCapacity(indices.elements.count)
    try forEachIndex(of: indices.shape) { index in
      var place = index
      place[axis] = try wholeIndex(indices.elements[elements.count], below: x.shape[axis])
      elements.append(x.elements[zip(place, strides).reduce(0) { $0 + $1.0 * $1.1 }])
    }
    return try DenseTensor(shape: indices.shape, elements: elements)
  }

  public static let onnx = [
    ONNXBinding("GatherElements", since: 11) { node in
      let shape = try node.input(0).type.shape
      let axis = try shape.axis(try node.int("axis", default: 0))
      try node.requireIndices(1, in: [axis], of: shape)
      return ImportedOperator(GatherElements(axis: axis), operands: [0, 1])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "GatherElements", attributes: [("axis", .int(axis))], inputs: [.operand(0), .operand(1)])
  }
}

extension GatherElements: DifferentiableOperator {
  /// dy is added to zeros at the places that were read.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = try builder.operand(0)
    let zeros = try builder.apply(
      Expand(shape: builder.shape(of: x)), [try builder.scalar(0, like: x)])
    try builder.setGradient(
      of: 0,
      try builder.apply(
        ScatterElements(axis: axis, reduction: .add),
        [zeros, try builder.operand(1), try builder.incoming()]))
  }
}

/// Checks that `indices` say where on an axis of `x` their elements are, as C1 and C2 of ``GatherElements`` say.
func requireElementIndices(_ x: TensorType, _ indices: TensorType, axis: Int) throws {
  try require(
    "C1", (0..<x.rank).contains(axis) && !x.shape[axis].isBatch && x.shape[axis] != 0,
    "axis \(axis) is not an axis of \(x) with a constant extent")
  let fits =
    indices.rank == x.rank
    && x.shape.dimensions.indices.allSatisfy { other in
      let (own, most) = (indices.shape[other], x.shape[other])
      return other == axis || own == most || (own.constant ?? .max) <= (most.constant ?? 0)
    }
  try require(
    "C2", (indices.dtype == .int64 || indices.dtype == .int32) && fits,
    "indices must be int32 or int64 and fit in \(x), found \(indices)")
}

/// An index that counts from the end where it is negative.
/// - Throws: ``GraftError`` if it is outside.
func wholeIndex(_ index: Dimension, below extent: Int) throws -> Int {
  guard let index = index.constant, index >= -extent, index < extent else {
    throw GraftError(.invalidGraph, "index \(index) is outside \(extent)")
  }
  return index < 0 ? index + extent : index
}
