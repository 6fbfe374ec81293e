// The remainder of a division. ONNX Mod, opsets 10, 13;
// https://onnx.ai/onnx/operators/onnx__Mod.html

import GraftDiagnostics
import GraftIR

/// y = a − b · ⌊a / b⌋, or with ``truncates`` a − b · trunc(a / b), as C's fmod; constraints C1 and C2 of
/// ``BroadcastingPair``. Of integers, a division by 0 gives 0.
public struct Remainder: BroadcastingPair {
  public static let opcode: Opcode = "mod"
  public static let summary = "remainder of a / b"
  public static let onnxName = "Mod"

  /// Whether y has the sign of a, and not that of b.
  public var truncates: Bool

  public init(truncates: Bool = false) { self.truncates = truncates }
  public init(attributes: Attributes) throws {
    truncates = try attributes.bool("truncates", default: false)
  }
  public var attributes: Attributes { truncates ? ["truncates": .bool(true)] : [:] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    [try broadcastType(operands)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2 else {
      throw GraftError(.invalidGraph, "expected two operands")
    }
    switch (operands[0], operands[1]) {
    case (.float32(let a), .float32(let b)):
      return [.float32(try broadcasting(a, b, to: extents[0], real))]
    case (.float64(let a), .float64(let b)):
      return [.float64(try broadcasting(a, b, to: extents[0], real))]
    case (.integer(let a), .integer(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0], whole))]
    default:
      throw GraftError(.invalidGraph, "\(Self.opcode) needs operands of one element type")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    try foldPair(types, values, whole).map { [$0] }
  }

  public static func applyToShapes(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    try Remainder().whole(a, b)
  }

  private func real<Scalar: BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    let rest = a.truncatingRemainder(dividingBy: b)
    return truncates || rest == 0 || (rest < 0) == (b < 0) ? rest : rest + b
  }

  private func whole(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    var result: Dimension?
    if let b = b.constant, b != 0 {
      let rest = a.coefficient.remainderReportingOverflow(dividingBy: b).partialValue
      if a.isBatch {
        result = rest == 0 ? 0 : nil
      } else {
        result = Dimension(truncates || rest == 0 || (rest < 0) == (b < 0) ? rest : rest + b)
      }
    }
    return try requireShapeValue(result, Self.opcode, a, b)
  }

  public static let onnx = [
    ONNXBinding("Mod", since: 10) { node in
      ImportedOperator(
        Remainder(truncates: try node.flag("fmod", default: false)), operands: [0, 1])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      Self.onnxName, attributes: [("fmod", .int(truncates ? 1 : 0))],
      inputs: [.operand(0), .operand(1)])
  }
}

extension Remainder: DifferentiableOperator {
  /// da = dy; of b none, as its multiple is constant almost everywhere and PyTorch's fmod has none either.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    if builder.wants(0) { try builder.setGradient(of: 0, summing: try builder.incoming()) }
    if builder.wants(1) {
      throw GraftError(.unsupported, "the gradient of a remainder's divisor")
    }
  }
}
