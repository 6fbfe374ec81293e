// What equal, greater and less share. Exporters write them into shape arithmetic, so their evaluation
// knows when a multiple of the batch compares alike for every batch.

import GraftDiagnostics
import GraftIR
import RealModule

/// An elementwise comparison of two tensors with multidirectional broadcasting, 1 where it holds.
///
/// - C1: a and b have the same element type.
/// - C2: their shapes broadcast.
public protocol Comparison: ONNXExportable {
  static var onnxName: String { get }
  init()
  static func holds<Element: Comparable>(_ a: Element, _ b: Element) -> Bool
}

extension Comparison {
  public static var operands: [OperandRule] { [.required("a"), .required("b")] }
  public static var isCompileTimeOnly: Bool { true }
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let a = try operand(0, of: operands)
    let b = try operand(1, of: operands)
    try require("C1", a.dtype == b.dtype, "operands must have one type, found \(a) and \(b)")
    return [TensorType(.bool, try broadcast([a.shape, b.shape], label: "C2"))]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2 else {
      throw GraftError(.invalidGraph, "two operands are expected")
    }
    switch (operands[0], operands[1]) {
    case (.float32(let a), .float32(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0]) { Self.holds($0, $1) ? 1 : 0 })]
    case (.float64(let a), .float64(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0]) { Self.holds($0, $1) ? 1 : 0 })]
    case (.integer(let a), .integer(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0], Self.compare))]
    default:
      throw GraftError(.invalidGraph, "\(Self.opcode) compares one element type at a time")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard values.count == 2, let a = values[0], let b = values[1],
      let extents = try foldableExtents(types)?.first
    else { return nil }
    return [try broadcasting(a, b, to: extents, Self.compare)]
  }

  private static func compare(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    guard let order = a.compared(to: b) else {
      throw GraftError(.unsupported, "whether \(a) and \(b) are \(opcode) depends on the batch")
    }
    return holds(order, 0) ? 1 : 0
  }

  public static var onnx: [ONNXBinding] {
    [ONNXBinding(onnxName) { _ in ImportedOperator(Self(), operands: [0, 1]) }]
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(Self.onnxName, inputs: [.operand(0), .operand(1)])
  }
}

extension Dimension {
  /// −1, 0 or 1 as `self` is less than, equal to or greater than `other` for every batch ≥ 1; nil
  /// where it depends on the batch.
  func compared(to other: Dimension) -> Int? {
    func sign(_ a: Int, _ b: Int) -> Int { a < b ? -1 : (a == b ? 0 : 1) }
    switch (isBatch, other.isBatch) {
    case (true, true), (false, false): return sign(coefficient, other.coefficient)
    case (true, false):
      // k·N runs from k on, away from 0.
      let order = sign(coefficient, other.coefficient)
      return order == (coefficient > 0 ? 1 : -1) ? order : nil
    case (false, true): return other.compared(to: self).map { -$0 }
    }
  }
}
