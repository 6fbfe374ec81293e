// Shared code of binary arithmetic and comparisons: multidirectional broadcasting, the
// types that it asks for, shape arithmetic and the ONNX form.

import GraftDiagnostics
import GraftIR

/// An elementwise function of two tensors with ONNX's multidirectional broadcasting.
///
/// - C1: a and b have the same element type.
/// - C2: their shapes broadcast.
public protocol BroadcastingPair: ONNXExportable {
  static var onnxName: String { get }
  /// The function on shape values.
  /// - Throws: ``GraftError`` of kind `unsupported` if the result is not a shape value.
  static func applyToShapes(_ a: Dimension, _ b: Dimension) throws -> Dimension
}

extension BroadcastingPair {
  public var isElementwise: Bool { true }
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carryElements()
  }
  public static var group: OperatorGroup { .arithmetic }
  public static var operands: [OperandRule] { [.required("a"), .required("b")] }

  /// The broadcast shape with the operands' own element type.
  func broadcastType(_ operands: [TensorType?]) throws -> TensorType {
    let a = try operand(0, of: operands)
    let b = try operand(1, of: operands)
    try require("C1", a.dtype == b.dtype, "operands must have one type, found \(a) and \(b)")
    return TensorType(a.dtype, try broadcast([a.shape, b.shape], label: "C2"))
  }

  /// Applies `body` to shape values; nil if they are not known.
  func foldPair<Result>(
    _ types: [TensorType?], _ values: [DenseTensor<Dimension>?],
    _ body: (Dimension, Dimension) throws -> Result
  ) throws -> DenseTensor<Result>? {
    guard values.count == 2, let a = values[0], let b = values[1],
      let extents = try foldableExtents(types)?.first
    else { return nil }
    return try broadcasting(a, b, to: extents, body)
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    try foldPair(types, values, Self.applyToShapes).map { [$0] }
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(Self.onnxName, inputs: [.operand(0), .operand(1)])
  }
}

/// Throws if the result of `opcode` on shape values is not a shape value.
func requireShapeValue(
  _ result: Dimension?, _ opcode: Opcode, _ a: Dimension, _ b: Dimension
) throws -> Dimension {
  guard let result else {
    throw GraftError(
      .unsupported, "\(opcode) of \(a) and \(b) is neither an integer nor a multiple of the batch")
  }
  return result
}

/// Applies `body` to the elements of two tensors broadcast to `extents`.
func broadcasting<Element, Result>(
  _ a: DenseTensor<Element>, _ b: DenseTensor<Element>, to extents: [Int],
  _ body: (Element, Element) throws -> Result
) throws -> DenseTensor<Result> {
  if a.shape == extents, b.shape == extents {
    return try DenseTensor(
      shape: extents, elements: try zip(a.elements, b.elements).map { try body($0, $1) })
  }
  let aStrides = broadcastStrides(of: a.shape, to: extents)
  let bStrides = broadcastStrides(of: b.shape, to: extents)
  var elements: [Result] = []
  elements.reserveCapacity(extents.reduce(1, *))
  try forEachIndex(of: extents) { index in
    var (i, j) = (0, 0)
    for axis in index.indices {
      i += index[axis] * aStrides[axis]
      j += index[axis] * bStrides[axis]
    }
    elements.append(try body(a.elements[i], b.elements[j]))
  }
  return try DenseTensor(shape: extents, elements: elements)
}

/// Row-major strides of `shape` seen as `extents`: 0 along axes that are repeated.
func broadcastStrides(of shape: [Int], to extents: [Int]) -> [Int] {
  let own = rowMajorStrides(shape)
  let missing = extents.count - shape.count
  return extents.indices.map { axis in
    axis < missing || shape[axis - missing] == 1 ? 0 : own[axis - missing]
  }
}
