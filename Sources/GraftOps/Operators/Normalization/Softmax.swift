// Exponentials that add up to one. ONNX Softmax, opsets 1, 11 (flattening), 13 (one axis);
// https://onnx.ai/onnx/operators/onnx__Softmax.html

import GraftIR
import RealModule

/// y = exp(x − max x) / Σ exp(x − max x) along an axis; constraints C1 to C3 of ``SoftmaxFamily``.
public struct Softmax: SoftmaxFamily {
  public static let opcode: Opcode = "softmax"
  public static let probabilities = Probabilities.softmax
  public static let summary = "softmax along an axis"
  public static let onnxName = "Softmax"

  public var rows: SoftmaxRows
  public init(_ rows: SoftmaxRows) { self.rows = rows }

  public static func normalize<Scalar: Real & BinaryFloatingPoint>(_ row: [Scalar]) -> [Scalar] {
    let largest = row.max() ?? 0
    let powers = row.map { Scalar.exp($0 - largest) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
  }
}

extension Softmax: DifferentiableOperator {
  /// dx = y · (dy − Σ dy · y)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let (dy, y) = (try builder.incoming(), builder.result())
    let axes = normalizedAxes(rank: builder.shape(of: y).rank)
    let product = try builder.apply(Multiply(), [dy, y])
    let sum = try builder.apply(ReduceSum(axes: axes, keepsAxes: true), [product])
    let difference = try builder.apply(Subtract(), [dy, sum])
    try builder.setGradient(of: 0, try builder.apply(Multiply(), [difference, y]))
  }
}
