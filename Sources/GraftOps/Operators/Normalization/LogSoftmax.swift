// The logarithm of the softmax. ONNX LogSoftmax, opsets 1, 11 (flattening), 13 (one axis);
// https://onnx.ai/onnx/operators/onnx__LogSoftmax.html

import GraftIR
import RealModule

/// y = (x − max x) − log Σ exp(x − max x) along an axis; constraints C1 to C3 of
/// ``SoftmaxFamily``.
public struct LogSoftmax: SoftmaxFamily {
  public static let opcode: Opcode = "log_softmax"
  public static let probabilities = Probabilities.logSoftmax
  public static let summary = "logarithm of the softmax along an axis"
  public static let onnxName = "LogSoftmax"

  public var rows: SoftmaxRows
  public init(_ rows: SoftmaxRows) { self.rows = rows }

  public static func normalize<Scalar: Real & BinaryFloatingPoint>(_ row: [Scalar]) -> [Scalar] {
    let largest = row.max() ?? 0
    let logarithm = Scalar.log(row.reduce(0) { $0 + Scalar.exp($1 - largest) })
    return row.map { ($0 - largest) - logarithm }
  }
}

extension LogSoftmax: DifferentiableOperator {
  /// dx = dy − eʸ · Σ dy
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let (dy, y) = (try builder.incoming(), builder.result())
    let axes = normalizedAxes(rank: builder.shape(of: y).rank)
    let sum = try builder.apply(ReduceSum(axes: axes, keepsAxes: true), [dy])
    let share = try builder.apply(
      Multiply(), [try builder.apply(Exponential(), [y]), sum])
    try builder.setGradient(of: 0, try builder.apply(Subtract(), [dy, share]))
  }
}
