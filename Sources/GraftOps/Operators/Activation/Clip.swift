// Limiting to a range. ONNX Clip, opset 6 (limits as attributes), 11, 12, 13 (as inputs);
// https://onnx.ai/onnx/operators/onnx__Clip.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = min(max(x, low), high), elementwise, any shape; a NaN stays one, and where low passes high
/// every element becomes high, as in ONNX.
public struct Clip: UnaryElementwise {
  public static let opcode: Opcode = "clip"
  public static let summary = "min(max(x, low), high)"
  public static let onnxName: String? = "Clip"

  /// −∞ where there is no lower limit.
  public var low: Double
  /// ∞ where there is no upper limit.
  public var high: Double

  public init(low: Double = -.infinity, high: Double = .infinity) {
    self.low = low
    self.high = high
  }
  public init(attributes: Attributes) throws {
    low = try attributes.float("low")
    high = try attributes.float("high")
  }
  public var attributes: Attributes { ["low": .float(low), "high": .float(high)] }
  public var parameters: [Double] { [low, high] }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    x.isNaN ? x : min(max(x, Scalar(low)), Scalar(high))
  }

  public static let onnx = [
    ONNXBinding("Clip", opsets: 1...10) { node in
      ImportedOperator(
        Clip(
          low: try node.float("min", default: -.infinity),
          high: try node.float("max", default: .infinity)),
        operands: [0])
    },
    ONNXBinding("Clip", since: 11) { node in
      ImportedOperator(
        Clip(
          low: try node.constantScalar(1, named: "min")?.real ?? -.infinity,
          high: try node.constantScalar(2, named: "max")?.real ?? .infinity),
        operands: [0])
    },
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let dtype = try operand(0, of: operands).dtype
    func input(_ limit: Double, absent: Double) throws -> ExportedOperator.Input {
      limit == absent
        ? .absent : .constant(try ScalarConstant.real(limit).data(dtype, shape: []))
    }
    return ExportedOperator(
      "Clip",
      inputs: [
        .operand(0), try input(low, absent: -.infinity), try input(high, absent: .infinity),
      ])
  }
}

extension Clip {
  /// An identity without limits, a Relu with only the lower limit 0; a redundant Relu before it is removed.
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    if low == -.infinity, high == .infinity { return .operand(0) }
    if low == 0, high == .infinity { return .become(Relu()) }
    guard low >= 0, try node.producer(ofOperand: 0, as: Relu.self) != nil else { return nil }
    return .merge(self)
  }
}

extension Clip: ActivationFunction {
  public init(parameters: [Double]) { self.init(low: parameters[0], high: parameters[1]) }
  public static let parameterCount = 2
  public var isNonNegative: Bool { low >= 0 && high >= low }
  public var derivativeReadsResult: Bool { true }
  /// 0 at both ends.
  public func derivative<Scalar: Real & BinaryFloatingPoint>(_ value: Scalar) -> Scalar {
    value > Scalar(low) && value < Scalar(high) ? 1 : 0
  }
}
