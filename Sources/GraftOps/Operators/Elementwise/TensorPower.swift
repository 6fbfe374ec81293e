// A power with a computed exponent. ONNX Pow, opsets 1, 7, 12, 13, 15, whose binding Power has.
// https://onnx.ai/onnx/operators/onnx__Pow.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = a to the power b, as C's pow, with multidirectional broadcasting; constraints C1 and C2 of
/// ``BroadcastingPair``. Of integers, the whole part.
public struct TensorPower: BroadcastingPair {
  public static let opcode: Opcode = "pow_tensor"
  public static let summary = "a to the power b with broadcasting"
  public static let onnxName = "Pow"

  public init() {}
  public init(attributes: Attributes) throws { self.init() }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    [try broadcastType(operands)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2 else { throw GraftError(.invalidGraph, "expected two operands") }
    switch (operands[0], operands[1]) {
    case (.float32(let a), .float32(let b)):
      return [.float32(try broadcasting(a, b, to: extents[0]) { Self.power($0, $1) })]
    case (.float64(let a), .float64(let b)):
      return [.float64(try broadcasting(a, b, to: extents[0]) { Self.power($0, $1) })]
    case (.integer(let a), .integer(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0], Self.applyToShapes))]
    default:
      throw GraftError(.invalidGraph, "\(Self.opcode) needs operands of one element type")
    }
  }

  /// The power of RealModule is NaN for every negative base.
  private static func power<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar
  {
    guard let whole = Int(exactly: b) else { return Scalar.pow(a, b) }
    return Scalar.pow(a, whole)
  }

  public static func applyToShapes(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    var result: Dimension?
    if b == 1 { result = a }
    if let a = a.constant, let b = b.constant {
      result = Int(exactly: Double.pow(Double(a), b).rounded(.towardZero)).map { Dimension($0) }
    }
    return try requireShapeValue(result, opcode, a, b)
  }

  public static let onnx: [ONNXBinding] = []

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([elementCount(results.first), 32]))
  }
}

extension TensorPower: DifferentiableOperator {
  /// With y = a^b: da = dy · b · a^(b − 1) and db = dy · y · log a, 0 where y is 0.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let (a, b) = (try builder.operand(0), try builder.operand(1))
    let dy = try builder.incoming()
    if builder.wants(0) {
      let less = try builder.apply(Subtract(), [b, try builder.scalar(1, like: b)])
      let slope = try builder.apply(
        Multiply(), [b, try builder.apply(TensorPower(), [a, less])])
      try builder.setGradient(of: 0, summing: try builder.apply(Multiply(), [dy, slope]))
    }
    if builder.wants(1) {
      let y = builder.result()
      let slope = try builder.apply(Multiply(), [y, try builder.apply(Logarithm(), [a])])
      let zero = try builder.scalar(0, like: y)
      let finite = try builder.apply(
        Where(), [try builder.apply(Equal(), [y, zero]), zero, slope])
      try builder.setGradient(of: 1, summing: try builder.apply(Multiply(), [dy, finite]))
    }
  }
}
