// And, Or and Xor of booleans. ONNX And, Or, Xor, opset 7 (multidirectional broadcasting);
// https://onnx.ai/onnx/operators/onnx__And.html

import GraftDiagnostics
import GraftIR

/// A logical function of two tensors of booleans with broadcasting; constraints C1 and C2 of
/// ``BroadcastingPair``.
///
/// - C3: the operands hold booleans.
public protocol LogicalPair: BroadcastingPair {
  init()
  static func holds(_ a: Bool, _ b: Bool) -> Bool
}

extension LogicalPair {
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let type = try broadcastType(operands)
    try require("C3", type.dtype == .bool, "operands must be bool tensors, found \(type)")
    return [type]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, case .integer(let a)? = operands[0],
      case .integer(let b)? = operands[1]
    else { throw GraftError(.invalidGraph, "expected two bool tensors [C3]") }
    return [.integer(try broadcasting(a, b, to: extents[0], Self.applyToShapes))]
  }

  public static func applyToShapes(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    holds(a != 0, b != 0) ? 1 : 0
  }

  public static var onnx: [ONNXBinding] {
    [ONNXBinding(onnxName) { try $0.broadcastingPair(Self()) }]
  }
}

/// y = 1 if both a and b are, else 0.
public struct LogicalAnd: LogicalPair {
  public static let opcode: Opcode = "and"
  public static let summary = "logical and"
  public static let onnxName = "And"

  public init() {}

  public static func holds(_ a: Bool, _ b: Bool) -> Bool { a && b }
}

/// y = 1 if a or b is, else 0.
public struct LogicalOr: LogicalPair {
  public static let opcode: Opcode = "or"
  public static let summary = "logical or"
  public static let onnxName = "Or"

  public init() {}

  public static func holds(_ a: Bool, _ b: Bool) -> Bool { a || b }
}

/// y = 1 if exactly one of a and b is, else 0.
public struct LogicalXor: LogicalPair {
  public static let opcode: Opcode = "xor"
  public static let summary = "logical exclusive or"
  public static let onnxName = "Xor"

  public init() {}

  public static func holds(_ a: Bool, _ b: Bool) -> Bool { a != b }
}
