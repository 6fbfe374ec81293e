// From real numbers to bytes and back. Files' QuantizeLinear and DequantizeLinear may have scales for each
// channel; these have one, and are what quantization puts between operators on bytes and others.

import GraftDiagnostics
import GraftIR

/// y = round(x / scale) + zero, ties to even, saturated to 0...255; NaN becomes 0.
///
/// - C1: x is float32.
/// - C2: the scale is positive and finite, the zero point within 0...255.
public struct Quantize: Operator {
  public static let opcode: Opcode = "quantize"
  public static let group = OperatorGroup.movement
  public static let summary = "real numbers as bytes with a scale and a zero point"
  public static let operands: [OperandRule] = [.required("x")]
  public var isElementwise: Bool { true }
  public var convertsElements: Bool { true }

  public var to: Quantization

  public init(to quantization: Quantization) { to = quantization }

  public init(attributes: Attributes) throws {
    to = Quantization(
      scale: try attributes.float("scale"), zero: try attributes.int("zero", default: 0))
  }

  public var attributes: Attributes { to.attributes }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    guard x.dtype == .float32 else {
      throw GraftError(.unsupported, "x must be float32, found \(x) [C1]")
    }
    try to.check("C2")
    return [TensorType(.uint8, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard let x = try operands.first??.singles() else {
      throw GraftError(.invalidGraph, "operand 0 is missing")
    }
    return [.integer(x.map { Dimension(to.element($0)) })]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }
}

/// y = (x − zero) · scale.
///
/// - C1: x is uint8.
/// - C2: the scale is positive and finite, the zero point within 0...255.
public struct Dequantize: Operator {
  public static let opcode: Opcode = "dequantize"
  public static let group = OperatorGroup.movement
  public static let summary = "the real numbers that bytes stand for"
  public static let operands: [OperandRule] = [.required("x")]
  public var isElementwise: Bool { true }
  public var convertsElements: Bool { true }

  public var from: Quantization

  public init(from quantization: Quantization) { from = quantization }

  public init(attributes: Attributes) throws {
    from = Quantization(
      scale: try attributes.float("scale"), zero: try attributes.int("zero", default: 0))
  }

  public var attributes: Attributes { from.attributes }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    guard x.dtype == .uint8 else {
      throw GraftError(.unsupported, "x must be uint8, found \(x) [C1]")
    }
    try from.check("C2")
    return [TensorType(.float32, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard let x = try operands.first??.wholeNumbers() else {
      throw GraftError(.invalidGraph, "operand 0 is missing")
    }
    return [.float32(x.map { from.real($0) })]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }
}

extension Quantization {
  fileprivate var attributes: Attributes {
    var attributes: Attributes = ["scale": .float(scale)]
    if zero != 0 { attributes["zero"] = .int(zero) }
    return attributes
  }
}
