// Shared code of equal, greater and less. Exporters write them into shape arithmetic, so their evaluation
// knows when a multiple of the batch compares alike for every batch.

import GraftDiagnostics
import GraftIR
import RealModule

/// An elementwise comparison of two tensors with broadcasting, 1 where it holds; constraints C1 and C2
/// of ``BroadcastingPair``.
public protocol Comparison: BroadcastingPair {
  init()
  static func holds<Element: Comparable>(_ a: Element, _ b: Element) -> Bool
}

extension Comparison {
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    [TensorType(.bool, try broadcastType(operands).shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2 else {
      throw GraftError(.invalidGraph, "expected two operands")
    }
    switch (operands[0], operands[1]) {
    case (.float32(let a), .float32(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0]) { Self.holds($0, $1) ? 1 : 0 })]
    case (.float64(let a), .float64(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0]) { Self.holds($0, $1) ? 1 : 0 })]
    case (.integer(let a), .integer(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0], Self.applyToShapes))]
    default:
      throw GraftError(.invalidGraph, "\(Self.opcode) needs operands of one element type")
    }
  }

  public static func applyToShapes(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    guard let order = a.compared(to: b) else {
      throw GraftError(.unsupported, "\(opcode) of \(a) and \(b) depends on the batch")
    }
    return holds(order, 0) ? 1 : 0
  }

  public static var onnx: [ONNXBinding] {
    [ONNXBinding(onnxName) { try $0.broadcastingPair(Self()) }]
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
