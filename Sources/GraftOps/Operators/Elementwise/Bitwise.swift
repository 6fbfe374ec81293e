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

/// y = a · 2^b, of which the upper bits are lost, or ⌊a / 2^b⌋, of integers of ``bits`` bits; 0, or −1 of a negative
/// number to the right, where b is at least that or negative.
public struct BitShift: BitwisePair {
  public static let opcode: Opcode = "bit_shift"
  public static let summary = "a with its bits moved by b places"
  public static let onnxName = "BitShift"

  /// Towards higher bits.
  public var isLeft: Bool
  /// The width of an element.
  public var bits: Int
  public var isSigned: Bool

  public init(isLeft: Bool, bits: Int, isSigned: Bool = false) {
    self.isLeft = isLeft
    self.bits = bits
    self.isSigned = isSigned
  }
  public init(attributes: Attributes) throws {
    isLeft = try attributes.bool("left", default: false)
    bits = try attributes.int("bits")
    isSigned = try attributes.bool("signed", default: false)
  }
  public var attributes: Attributes {
    var attributes: Attributes = ["bits": .int(bits)]
    if isLeft { attributes["left"] = .bool(true) }
    if isSigned { attributes["signed"] = .bool(true) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let type = try broadcastType(operands)
    try require(
      "C3",
      type.dtype.isInteger && bits == type.dtype.byteCount * 8
        && isSigned == type.dtype.isSigned,
      "operands must be integers of \(bits) bits, found \(type)")
    return [type]
  }

  public func combine(_ a: Int, _ b: Int) -> Int {
    guard b >= 0, b < bits else { return isLeft || !isSigned || a >= 0 ? 0 : -1 }
    guard isLeft else {
      return isSigned ? a >> b : Int(bitPattern: UInt(bitPattern: a) >> UInt(b))
    }
    let moved = UInt(bitPattern: a) << UInt(b)
    let unused = UInt(max(0, 64 - bits))
    let kept = Int(bitPattern: moved << unused)
    return isSigned ? kept >> Int(unused) : Int(bitPattern: UInt(bitPattern: kept) >> unused)
  }

  public static let onnx = [
    ONNXBinding(onnxName, since: 11) { node in
      let dtype = try node.input(0).type.dtype
      let direction = try node.string("direction", default: "")
      guard ["LEFT", "RIGHT"].contains(direction) else {
        throw GraftError(.invalidModel, "direction must be LEFT or RIGHT")
      }
      return try node.broadcastingPair(
        BitShift(
          isLeft: direction == "LEFT", bits: dtype.byteCount * 8, isSigned: dtype.isSigned))
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
