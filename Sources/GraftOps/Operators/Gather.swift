// Choosing along an axis by constant indices. ONNX Gather, opsets 1, 11 (negative indices), 13;
// https://onnx.ai/onnx/operators/onnx__Gather.html

import GraftDiagnostics
import GraftIR

/// y replaces axis ``axis`` of x by the axes of indices: y[…, i…, …] = x[…, indices[i…], …]. Negative
/// indices count from the end.
///
/// Operands: x of any element type; indices of integers, constant in a network.
///
/// - C1: axis is an axis of x, and its extent is constant.
/// - C2: indices are integers.
public struct Gather: ONNXExportable {
  public static let opcode: Opcode = "gather"
  public static let summary = "chooses along an axis by constant indices"
  public static let operands: [OperandRule] = [.required("x"), .required("indices")]

  /// Counted from the front.
  public var axis: Int

  public init(axis: Int = 0) { self.axis = axis }
  public init(attributes: Attributes) throws { axis = try attributes.int("axis") }
  public var attributes: Attributes { ["axis": .int(axis)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let indices = try operand(1, of: operands)
    try require(
      "C1", (0..<x.rank).contains(axis) && !x.shape[axis].isBatch,
      "axis \(axis) is not an axis of \(x) with a constant extent")
    try require("C2", indices.dtype.isInteger, "indices must be integers, found \(indices)")
    return [
      TensorType(
        x.dtype,
        TensorShape(
          x.shape.dimensions[..<axis] + indices.shape.dimensions + x.shape.dimensions[(axis + 1)...]
        ))
    ]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, case .integer(let indices) = operands[1] else {
      throw GraftError(.invalidGraph, "indices must be integers [C2]")
    }
    switch operands[0] {
    case .float32(let x): return [.float32(try gather(x, indices, extents[0]))]
    case .float64(let x): return [.float64(try gather(x, indices, extents[0]))]
    case .integer(let x): return [.integer(try gather(x, indices, extents[0]))]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard values.count == 2, let x = values[0], let indices = values[1],
      let extents = try foldableExtents(types)?.first
    else { return nil }
    return [try gather(x, indices, extents)]
  }

  private func gather<Element>(
    _ x: DenseTensor<Element>, _ indices: DenseTensor<Dimension>, _ extents: [Int]
  ) throws -> DenseTensor<Element> {
    let available = x.shape[axis]
    let inner = x.shape[(axis + 1)...].reduce(1, *)
    let positions = try indices.elements.map { index -> Int in
      guard let index = index.constant, index >= -available, index < available else {
        throw GraftError(.invalidGraph, "index \(index) is outside \(available)")
      }
      return index < 0 ? index + available : index
    }
    var elements: [Element] = []
    for outer in 0..<x.shape[..<axis].reduce(1, *) {
      for position in positions {
        let start = (outer * available + position) * inner
        elements += x.elements[start..<(start + inner)]
      }
    }
    return try DenseTensor(shape: extents, elements: elements)
  }

  public static let onnx = [
    ONNXBinding("Gather") { node in
      let shape = try node.input(0).type.shape
      let axis = try shape.axis(try node.int("axis", default: 0))
      guard let indices = try node.input(1).integers else {
        throw GraftError(.unsupported, "indices that are computed while the network runs")
      }
      if let available = shape[axis].constant {
        for index in indices.elements {
          guard let index = index.constant, index >= -available, index < available else {
            throw GraftError(
              .invalidModel, "index \(index) is outside axis \(axis) of \(shape)")
          }
        }
      }
      return ImportedOperator(Gather(axis: axis), operands: [0, 1])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "Gather", attributes: [("axis", .int(axis))], inputs: [.operand(0), .operand(1)])
  }
}
