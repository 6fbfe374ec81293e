// An elementwise operator or a pool between bytes: what it computes on the real numbers for which they stand, as
// one operator.

import GraftDiagnostics
import GraftIR

/// y = round(f(a, b, …) · (1 / scale)) + zero, ties to even, saturated, where f is ``operation`` on the real numbers
/// that its uint8 operands stand for; operands may also be float32, and so may y.
///
/// Where it is ``isExact``, sums and means of bytes are computed and rounded as onnxruntime does it, since ties are
/// frequent in them: ``exactSum``; round(f / scale + zero) of a mean over windows; and of one over whole images
/// round(Σ (a − zero of a) · factor) + zero, see ``factorOfMean(of:)``.
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
  /// The quantization of each operand; nil for float32 ones.
  public var sources: [Quantization?]
  /// The quantization of the result; nil for float32.
  public var result: Quantization?
  /// Whether elements must be those that the runtime computes for which the file was made.
  public var isExact: Bool
  /// Whether the file has all bytes as int8, 128 less; exact sums and means are then rounded so.
  public var isSigned = false
  /// What the file's elements are less.
  public var shift: Int { isSigned ? Quantization.signShift : 0 }

  public init(
    _ operation: any Operator, sources: [Quantization?], result: Quantization?,
    isExact: Bool = false
  ) {
    self.operation = operation
    self.sources = sources
    self.result = result
    self.isExact = isExact
  }

  /// The sum of two values of bytes as a · first + (b · second + offset), rounded and saturated, with two fused
  /// multiply-adds of float32 numbers; nil for what is none or need not be exact.
  public var exactSum: (first: Float, second: Float, offset: Float)? {
    guard isExact, let sum = operation as? Add, sum.activation == .none, sources.count == 2,
      let a = sources[0], let b = sources[1], let result
    else { return nil }
    let (first, second) = (
      Float(a.scale) / Float(result.scale), Float(b.scale) / Float(result.scale)
    )
    let zeros = (second * Float(b.zero - shift)).addingProduct(first, Float(a.zero - shift))
    return (first, second, Float(result.zero - shift) - zeros)
  }

  /// Whether it is a mean over windows for which the zero point is added before rounding.
  public var isExactMean: Bool {
    isExact && operation is AveragePool && result != nil && sources.first != .some(nil)
  }

  /// What the sum of the `count` elements of an image is multiplied by to be a mean in steps of the result; nil for
  /// what is none or need not be exact.
  public func factorOfMean(of count: Int) -> Float? {
    guard isExact, operation is GlobalAveragePool, let source = sources.first ?? nil, let result
    else { return nil }
    return Float(source.scale) / (Float(result.scale) * Float(count))
  }

  /// The operator whose elements must be those that onnxruntime computes, for which a window of the whole image is a
  /// mean over images.
  /// - Parameters:
  ///   - types: those of the operands.
  ///   - isSigned: whether the file has the result as int8.
  public static func exact(
    _ operation: any Operator, types: [TensorType?], sources: [Quantization?],
    result: Quantization?, isSigned: Bool
  ) -> Quantized {
    var quantized = Quantized(operation, sources: sources, result: result, isExact: true)
    quantized.isSigned = isSigned
    if let pool = operation as? AveragePool, let x = types.first ?? nil, x.rank == 4,
      pool.window.pads == [0, 0, 0, 0], x.shape[2] == Dimension(pool.window.kernel[0]),
      x.shape[3] == Dimension(pool.window.kernel[1])
    {
      quantized.operation = GlobalAveragePool()
    }
    return quantized
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
    isExact = try attributes.bool("exact", default: false)
    isSigned = try attributes.bool("signed", default: false)
  }

  public var attributes: Attributes {
    var attributes = operation.attributes
    attributes["operator"] = .string(type(of: operation).opcode.rawValue)
    attributes["scales"] = .floats(sources.map { $0?.scale ?? 0 })
    attributes["zeros"] = .ints(sources.map { $0?.zero ?? 0 })
    attributes.set("result", result)
    if isExact { attributes["exact"] = .bool(true) }
    if isSigned { attributes["signed"] = .bool(true) }
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
    if let sum = exactSum, operands.count == 2, let a = try operands[0]?.wholeNumbers(),
      let b = try operands[1]?.wholeNumbers()
    {
      let steps = try broadcasting(a, b, to: extents[0]) { a, b in
        sum.offset.addingProduct(Float(b - shift), sum.second).addingProduct(
          Float(a - shift), sum.first)
      }
      let whole = Quantization(scale: 1, zero: shift)
      return [.integer(steps.map { Dimension(whole.element($0)) })]
    }
    if let whole = try evaluateMean(operands, extents: extents) { return [whole] }
    let reals = try zip(operands, sources).map { operand, source -> HostTensor? in
      guard let source else { return try operand.map { .float32(try $0.singles()) } }
      return try operand.map { .float32(try $0.wholeNumbers().map { source.real($0) }) }
    }
    let values = try operation.evaluate(reals, extents: extents)
    guard let result else { return values }
    if isExactMean {
      let whole = Quantization(scale: 1, zero: shift)
      return try values.map { value in
        .integer(
          try value.singles().map {
            Dimension(whole.element($0 / Float(result.scale) + Float(result.zero - shift)))
          })
      }
    }
    return try values.map { value in
      .integer(
        try value.singles().map { Dimension(result.element(ofSteps: $0 * result.rate)) })
    }
  }

  /// An exact mean over whole images; nil for another operator.
  private func evaluateMean(_ operands: [HostTensor?], extents: [[Int]]) throws -> HostTensor? {
    guard isExact, operation is GlobalAveragePool, let result, let zero = sources.first??.zero,
      let x = try operands.first??.wholeNumbers()
    else { return nil }
    let count = x.shape.dropFirst(2).reduce(1, *)
    guard let factor = factorOfMean(of: count) else { return nil }
    let elements = (0..<extents[0].reduce(1, *)).map { channel -> Dimension in
      let sum = x.elements[channel * count..<(channel + 1) * count].reduce(0) { $0 + $1 - zero }
      return Dimension(result.element(ofSteps: Float(sum) * factor))
    }
    return .integer(try DenseTensor(shape: extents[0], elements: elements))
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
