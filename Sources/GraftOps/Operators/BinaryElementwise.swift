// What the elementwise operators of two tensors share: broadcasting, types, evaluation on real numbers
// and on shape values, layouts. Each operator's own file gives the function and the ONNX name.

import GraftDiagnostics
import GraftIR
import RealModule

/// An elementwise function of two tensors with ONNX's multidirectional broadcasting, followed by an
/// optional fused activation.
///
/// - C1: a and b have the same element type.
/// - C2: their shapes broadcast.
public protocol BinaryElementwise: ONNXExportable {
  static var onnxName: String { get }
  var activation: Activation { get set }
  init(activation: Activation)
  static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar
  /// The function on shape values; nil where the result is neither an integer nor k·N.
  static func apply(_ a: Dimension, _ b: Dimension) -> Dimension?
}

extension BinaryElementwise {
  public static var operands: [OperandRule] { [.required("a"), .required("b")] }

  public init(attributes: Attributes) throws {
    self.init(activation: try attributes.activation())
  }

  public var attributes: Attributes {
    var attributes = Attributes()
    attributes.set(activation)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let a = try operand(0, of: operands)
    let b = try operand(1, of: operands)
    try require("C1", a.dtype == b.dtype, "operands must have one type, found \(a) and \(b)")
    return [TensorType(a.dtype, try broadcast([a.shape, b.shape], label: "C2"))]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, extents.count == 1 else {
      throw GraftError(.invalidGraph, "two operands and one result are expected")
    }
    switch (operands[0], operands[1]) {
    case (.float32(let a), .float32(let b)):
      return [.float32(try broadcasting(a, b, to: extents[0]) { activation(Self.apply($0, $1)) })]
    case (.float64(let a), .float64(let b)):
      return [.float64(try broadcasting(a, b, to: extents[0]) { activation(Self.apply($0, $1)) })]
    case (.integer(let a), .integer(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0], Self.applyOrThrow))]
    default:
      throw GraftError(.invalidGraph, "\(Self.opcode) computes on one element type at a time")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard values.count == 2, let a = values[0], let b = values[1],
      let extents = try foldableExtents(types)?.first
    else { return nil }
    return [try broadcasting(a, b, to: extents, Self.applyOrThrow)]
  }

  static func applyOrThrow(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    guard let result = apply(a, b) else {
      throw GraftError(
        .unsupported, "\(opcode) of \(a) and \(b) is neither an integer nor a multiple of the batch"
      )
    }
    return result
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let extents = results.first.flatMap { try? $0.shape.extents(batch: 1) } ?? [0]
    return OperatorCost(multiplyAdds: extents.reduce(1, *))
  }

  /// Blocked where both operands are images of the result's shape, or one of them is one number for
  /// each channel ([1, C, 1, 1] or [N, C, 1, 1]).
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    guard let result = results.first, result.rank == 4, result.dtype.isFloatingPoint else {
      return .plain
    }
    let fits = operands.compactMap(\.self).allSatisfy { type in
      guard type.rank == 4, type.shape[1] == result.shape[1] else { return false }
      return type.shape == result.shape || (type.shape[2] == 1 && type.shape[3] == 1)
    }
    return fits ? .blocked : .plain
  }

  public var overwritableOperands: [Int] { [0, 1] }

  public static var onnx: [ONNXBinding] {
    [ONNXBinding(onnxName) { _ in ImportedOperator(Self(activation: .none), operands: [0, 1]) }]
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard activation == .none else {
      throw GraftError(.unsupported, "ONNX has no \(Self.onnxName) with a fused activation")
    }
    return ExportedOperator(Self.onnxName, inputs: [.operand(0), .operand(1)])
  }
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
