// The extents of a tensor, as numbers. ONNX Shape, opsets 1, 13, 15 (start and end), 19, 21;
// https://onnx.ai/onnx/operators/onnx__Shape.html

import GraftDiagnostics
import GraftIR

/// y [rank, or the axes from start to end] of int64 = the extents of x, the batch as N.
///
/// - C1: start and end are in 0…rank.
public struct Shape: ONNXExportable {
  public static let opcode: Opcode = "shape"
  public static let group = OperatorGroup.movement
  public static let summary = "the shape of a tensor"
  public static let operands: [OperandRule] = [.required("x")]
  public static let isCompileTimeOnly = true

  /// The first axis.
  public var start: Int
  /// The end of the range of axes; nil for all.
  public var end: Int?

  public init(start: Int = 0, end: Int? = nil) {
    self.start = start
    self.end = end
  }

  public init(attributes: Attributes) throws {
    start = try attributes.int("start", default: 0)
    end = attributes["end"] == nil ? nil : try attributes.int("end")
  }

  public var attributes: Attributes {
    var attributes = Attributes()
    if start != 0 { attributes["start"] = .int(start) }
    if let end { attributes["end"] = .int(end) }
    return attributes
  }

  /// The range of axes for a tensor of rank `rank`.
  private func axes(rank: Int) throws -> Range<Int> {
    let end = end ?? rank
    try require(
      "C1", (0...rank).contains(start) && (0...rank).contains(end),
      "axes from \(start) to \(end) of a tensor of rank \(rank)")
    return start..<max(start, end)
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let axes = try axes(rank: operand(0, of: operands).rank)
    return [TensorType(.int64, TensorShape([axes.count]))]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard let x = operands.first ?? nil else {
      throw GraftError(.invalidGraph, "operand 0 is missing")
    }
    let told = try x.shape[axes(rank: x.shape.count)].map { Dimension($0) }
    return [.integer(try DenseTensor(shape: extents[0], elements: told))]
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    let shape = try operand(0, of: types).shape
    let told = Array(try shape.dimensions[axes(rank: shape.rank)])
    return [try DenseTensor(shape: [told.count], elements: told)]
  }

  public static let onnx = [
    ONNXBinding("Shape") { node in
      let rank = try node.input(0).type.rank
      func clamp(_ axis: Int) -> Int { min(max(axis < 0 ? axis + rank : axis, 0), rank) }
      guard node.opset >= 15 else { return ImportedOperator(Shape(), operands: [0]) }
      let start = clamp(try node.int("start", default: 0))
      let end = clamp(try node.int("end", default: rank))
      return ImportedOperator(Shape(start: start, end: end == rank ? nil : end), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    var attributes: [(name: String, value: ONNXAttributeValue)] = [("start", .int(start))]
    if let end { attributes.append(("end", .int(end))) }
    return ExportedOperator("Shape", attributes: attributes, inputs: [.operand(0)])
  }
}
