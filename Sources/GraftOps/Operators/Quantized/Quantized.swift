// An elementwise operator or a pool between bytes: what it computes on the real numbers for which they stand, as
// one operator.

import GraftDiagnostics
import GraftIR

/// y = round(f(a, b, …) · (1 / scale)) + zero, ties to even, saturated, where f is ``operation`` on the real numbers that its uint8 operands stand for;
/// operands may also be float32, and so may y.
///
/// - C1: every operand is uint8 with a quantization, or float32 without one.
/// - C2: what f asks of the real operands.
/// - C3: all scales are positive and finite, all zero points within 0...255.
public struct Quantized: Operator {
  public static let opcode: Opcode = "quantized"
  public static let group = OperatorGroup.arithmetic
  public static let summary = "an operator on real numbers between bytes that stand for them"
  public static let operands: [OperandRule] = [.variadic("a")]

  public var operation: any Operator
  /// Of each operand; nil for float32 ones.
  public var sources: [Quantization?]
  /// Of the result; nil for float32.
  public var result: Quantization?

  public init(_ operation: any Operator, sources: [Quantization?], result: Quantization?) {
    self.operation = operation
    self.sources = sources
    self.result = result
  }

  public init(attributes: Attributes) throws {
    let opcode = Opcode(rawValue: try attributes.string("operator"))
    guard let type = Catalog.type(of: opcode), type is any QuantizableElementwise.Type else {
      throw GraftError(
        .invalidGraph, "\(opcode.rawValue.quotedForDisplay) has no form on bytes")
    }
    operation = try type.init(attributes: attributes)
    let scales = try attributes.floats("scales")
    let zeros = try attributes.ints("zeros")
    guard scales.count == zeros.count else {
      throw GraftError(
        .invalidGraph, "\(scales.count) scales with \(zeros.count) zero points")
    }
    sources = zip(scales, zeros).map { $0 == 0 ? nil : Quantization(scale: $0, zero: $1) }
    result = try attributes.quantization("result")
  }

  public var attributes: Attributes {
    var attributes = operation.attributes
    attributes["operator"] = .string(type(of: operation).opcode.rawValue)
    attributes["scales"] = .floats(sources.map { $0?.scale ?? 0 })
    attributes["zeros"] = .ints(sources.map { $0?.zero ?? 0 })
    attributes.set("result", result)
    return attributes
  }

  private func realTypes(_ operands: [TensorType?]) -> [TensorType?] {
    operands.map { $0.map { TensorType(.float32, $0.shape, layout: $0.layout) } }
  }

  private func realResults(_ results: [TensorType]) -> [TensorType] {
    results.map { TensorType(.float32, $0.shape, layout: $0.layout) }
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    try require(
      "C1", operands.count == sources.count, "\(operands.count) operands, \(sources.count) scales")
    for (operand, source) in zip(operands, sources) {
      try source?.check("C3")
      try require(
        "C1", operand?.dtype == (source == nil ? .float32 : .uint8),
        "found \(operand.map(\.description) ?? "nothing") with "
          + (source == nil ? "no scale" : "a scale"))
    }
    try result?.check("C3")
    let types = try Catalog.inferTypes(operation, realTypes(operands))
    try require("C2", types.count == 1, "the operator has \(types.count) results")
    return types.map { TensorType(result == nil ? .float32 : .uint8, $0.shape) }
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    let reals = try zip(operands, sources).map { operand, source -> HostTensor? in
      guard let source else { return try operand.map { .float32(try $0.singles()) } }
      return try operand.map { .float32(try $0.wholeNumbers().map { source.real($0) }) }
    }
    let values = try operation.evaluate(reals, extents: extents)
    guard let result else { return values }
    return try values.map { value in
      .integer(
        try value.singles().map { Dimension(result.element(ofSteps: $0 * result.rate)) })
    }
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    operation.cost(operands: realTypes(operands), results: realResults(results))
  }

  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    operation.layoutSupport(operands: realTypes(operands), results: realResults(results))
  }

  public func border(ofOperand index: Int, types: [TensorType?]) -> (height: Int, width: Int) {
    operation.border(ofOperand: index, types: realTypes(types))
  }

  public func axesWorkedAlong(rank: Int) -> [Int] { operation.axesWorkedAlong(rank: rank) }
}
