// Functions of the bits of integers. ONNX BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot, opset 18, and BitShift,
// opset 11; https://onnx.ai/onnx/operators/onnx__BitwiseAnd.html

import GraftDiagnostics
import GraftIR
import RealModule

/// A function of the bits of two tensors of integers with broadcasting; constraints C1 and C2 of
/// ``BroadcastingPair``.
///
/// - C3: the operands are integers.
public protocol BitwisePair: BroadcastingPair {
  func combine(_ a: Int, _ b: Int) -> Int
}

extension BitwisePair {
  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let type = try broadcastType(operands)
    try require("C3", type.dtype.isInteger, "operands must be integers, found \(type)")
    return [type]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, case .integer(let a)? = operands[0],
      case .integer(let b)? = operands[1]
    else { throw GraftError(.invalidGraph, "expected two tensors of integers [C3]") }
    return [.integer(try broadcasting(a, b, to: extents[0], bits))]
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    try foldPair(types, values, bits).map { [$0] }
  }

  private func bits(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    guard let a = a.constant, let b = b.constant else {
      throw GraftError(.unsupported, "the bits of \(a) and \(b) depend on the batch")
    }
    return Dimension(combine(a, b))
  }

  public static func applyToShapes(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    try requireShapeValue(nil, opcode, a, b)
  }
}

/// y = a & b
public struct BitwiseAnd: BitwisePair {
  public static let opcode: Opcode = "bitwise_and"
  public static let summary = "bits that a and b have"
  public static let onnxName = "BitwiseAnd"

  public init() {}
  public init(attributes: Attributes) throws { self.init() }
  public func combine(_ a: Int, _ b: Int) -> Int { a & b }
  public static let onnx = [
    ONNXBinding(onnxName, since: 18) { try $0.broadcastingPair(BitwiseAnd()) }
  ]
}

/// y = a | b
public struct BitwiseOr: BitwisePair {
  public static let opcode: Opcode = "bitwise_or"
  public static let summary = "bits that a or b has"
  public static let onnxName = "BitwiseOr"

  public init() {}
  public init(attributes: Attributes) throws { self.init() }
  public func combine(_ a: Int, _ b: Int) -> Int { a | b }
  public static let onnx = [
    ONNXBinding(onnxName, since: 18) { try $0.broadcastingPair(BitwiseOr()) }
  ]
}

/// y = a ^ b
public struct BitwiseXor: BitwisePair {
  public static let opcode: Opcode = "bitwise_xor"
  public static let summary = "bits that exactly one of a and b has"
  public static let onnxName = "BitwiseXor"

  public init() {}
  public init(attributes: Attributes) throws { self.init() }
  public func combine(_ a: Int, _ b: Int) -> Int { a ^ b }
  public static let onnx = [
    ONNXBinding(onnxName, since: 18) { try $0.broadcastingPair(BitwiseXor()) }
  ]
}

/// y = a · 2^b or ⌊a / 2^b⌋ of unsigned integers of ``bits`` bits, 0 where b is at least that.
public struct BitShift: BitwisePair {
  public static let opcode: Opcode = "bit_shift"
  public static let summary = "a with its bits moved by b places"
  public static let onnxName = "BitShift"

  /// Towards higher bits.
  public var isLeft: Bool
  /// Of an element.
  public var bits: Int

  public init(isLeft: Bool, bits: Int) {
    self.isLeft = isLeft
    self.bits = bits
  }
  public init(attributes: Attributes) throws {
    isLeft = try attributes.bool("left", default: false)
    bits = try attributes.int("bits")
  }
  public var attributes: Attributes {
    var attributes: Attributes = ["bits": .int(bits)]
    if isLeft { attributes["left"] = .bool(true) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let type = try broadcastType(operands)
    try require(
      "C3",
      [.uint64, .uint32, .uint16, .uint8].contains(type.dtype)
        && bits == type.dtype.byteCount * 8,
      "operands must be unsigned integers of \(bits) bits, found \(type)")
    return [type]
  }

  public func combine(_ a: Int, _ b: Int) -> Int {
    guard b >= 0, b < bits else { return 0 }
    let moved = isLeft ? UInt(bitPattern: a) << UInt(b) : UInt(bitPattern: a) >> UInt(b)
    return Int(bitPattern: bits < 64 ? moved & ((1 << UInt(bits)) - 1) : moved)
  }

  public static let onnx = [
    ONNXBinding(onnxName, since: 11) { node in
      let type = try node.input(0).type
      let direction = try node.string("direction", default: "")
      guard ["LEFT", "RIGHT"].contains(direction) else {
        throw GraftError(.invalidModel, "direction must be LEFT or RIGHT")
      }
      return try node.broadcastingPair(
        BitShift(isLeft: direction == "LEFT", bits: type.dtype.byteCount * 8))
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      Self.onnxName, attributes: [("direction", .string(isLeft ? "LEFT" : "RIGHT"))],
      inputs: [.operand(0), .operand(1)])
  }
}
