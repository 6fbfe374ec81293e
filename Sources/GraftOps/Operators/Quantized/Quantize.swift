// From real numbers to bytes and back, with one scale: what files say with QuantizeLinear and DequantizeLinear, and
// what quantization puts between operators on bytes and others. Others of files are arithmetic (QuantizationFunctions).

import GraftDiagnostics
import GraftIR

/// y = round(x / scale) + zero, ties to even, saturated to 0...255; NaN becomes 0. Signed elements are int8: all, and
/// so the zero point, are 128 less.
///
/// - C1: x is float32.
/// - C2: the scale is positive and finite, the zero point within 0...255.
public struct Quantize: ONNXExportable {
  public static let opcode: Opcode = "quantize"
  public static let group = OperatorGroup.movement
  public static let summary = "real numbers as bytes with a scale and a zero point"
  public static let operands: [OperandRule] = [.required("x")]
  public var isElementwise: Bool { true }
  public var convertsElements: Bool { !isSigned }

  /// The zero point is that of uint8 elements also where they are signed.
  public var to: Quantization
  public var isSigned: Bool

  public init(to quantization: Quantization, isSigned: Bool = false) {
    to = quantization
    self.isSigned = isSigned
  }

  public init(attributes: Attributes) throws {
    self.init(
      to: try Quantization(attributes: attributes),
      isSigned: try attributes.bool("signed", default: false))
  }

  public var attributes: Attributes { to.attributes(isSigned: isSigned) }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    guard x.dtype == .float32 else {
      throw GraftError(.unsupported, "x must be float32, found \(x) [C1]")
    }
    try to.check("C2")
    return [TensorType(isSigned ? .int8 : .uint8, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard let x = try operands.first??.singles() else {
      throw GraftError(.invalidGraph, "operand 0 is missing")
    }
    let shift = isSigned ? Quantization.signShift : 0
    return [.integer(x.map { Dimension(to.element($0) - shift) })]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public var takesBlocksOfBytes: Bool { true }

  /// int8 is the type of inputs and outputs only.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    isSigned ? .plain : .blocked
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try to.exported("QuantizeLinear", isSigned: isSigned)
  }
}

/// y = (x − zero) · scale. Signed elements are int8: all, and so the zero point, are 128 less.
///
/// - C1: x is uint8, or int8 where it is signed.
/// - C2: the scale is positive and finite, the zero point within 0...255.
public struct Dequantize: ONNXExportable {
  public static let opcode: Opcode = "dequantize"
  public static let group = OperatorGroup.movement
  public static let summary = "the real numbers that bytes stand for"
  public static let operands: [OperandRule] = [.required("x")]
  public var isElementwise: Bool { true }
  public var convertsElements: Bool { !isSigned }

  /// The zero point is that of uint8 elements also where they are signed.
  public var from: Quantization
  public var isSigned: Bool

  public init(from quantization: Quantization, isSigned: Bool = false) {
    from = quantization
    self.isSigned = isSigned
  }

  public init(attributes: Attributes) throws {
    self.init(
      from: try Quantization(attributes: attributes),
      isSigned: try attributes.bool("signed", default: false))
  }

  public var attributes: Attributes { from.attributes(isSigned: isSigned) }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let dtype = isSigned ? DataType.int8 : .uint8
    guard x.dtype == dtype else {
      throw GraftError(.unsupported, "x must be \(dtype.rawValue), found \(x) [C1]")
    }
    try from.check("C2")
    return [TensorType(.float32, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard let x = try operands.first??.wholeNumbers() else {
      throw GraftError(.invalidGraph, "operand 0 is missing")
    }
    let shift = isSigned ? Quantization.signShift : 0
    return [.float32(x.map { from.real($0 + shift) })]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public var takesBlocksOfBytes: Bool { true }

  /// int8 is the type of inputs and outputs only.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    isSigned ? .plain : .blocked
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try from.exported("DequantizeLinear", isSigned: isSigned)
  }
}

extension Quantization {
  /// What signed elements are less.
  static let signShift = 128

  fileprivate init(attributes: Attributes) throws {
    self.init(scale: try attributes.float("scale"), zero: try attributes.int("zero", default: 0))
  }

  fileprivate func attributes(isSigned: Bool) -> Attributes {
    var attributes: Attributes = ["scale": .float(scale)]
    if zero != 0 { attributes["zero"] = .int(zero) }
    if isSigned { attributes["signed"] = .bool(true) }
    return attributes
  }

  fileprivate func exported(_ opType: String, isSigned: Bool) throws -> ExportedOperator {
    let zero = try TensorData(
      packing: [isSigned ? zero - Self.signShift : zero], as: isSigned ? .int8 : .uint8, shape: [])
    return ExportedOperator(
      opType,
      inputs: [
        .operand(0), .constant(try TensorData([Float(scale)], shape: [])), .constant(zero),
      ])
  }
}
