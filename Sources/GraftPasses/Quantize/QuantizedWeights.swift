// Weights as int8, one scale for each output, and what the sums of their products are multiplied by.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The constants of a sum of products on bytes.
struct QuantizedWeights {
  /// In the order [outputs, …].
  var elements: [Int]
  var shape: [Int]
  /// In units of the products, for each output.
  var bias: [Int]
  /// The real number that 1 in a sum stands for, for each output.
  var steps: [Double]

  /// The largest magnitude of an element; -128 is not used, so that the range is symmetric.
  private static let largest = 127.0
  /// The largest magnitude of a bias: with sums of products up to as much again, int32 does not overflow.
  private static let largestBias = Double(1 << 30)

  /// - Parameters:
  ///   - weights: [outputs, …].
  ///   - bias: one number for each output; nil for zeros.
  ///   - scale: that of x.
  /// - Returns: nil if a weight is not finite, or sums could overflow.
  init?(_ weights: DenseTensor<Float>, bias: [Float]?, scale: Double) {
    guard let outputs = weights.shape.first, outputs > 0 else { return nil }
    let depth = weights.elements.count / outputs
    guard weights.elements.allSatisfy(\.isFinite), bias?.allSatisfy(\.isFinite) ?? true,
      bias?.count ?? outputs == outputs, Double(depth) * Self.largest * 255 < Self.largestBias
    else { return nil }
    elements = []
    elements.reserveCapacity(weights.elements.count)
    shape = weights.shape
    self.bias = []
    steps = []
    for output in 0..<outputs {
      let row = weights.elements[output * depth..<(output + 1) * depth]
      let most = Double(row.reduce(0) { max($0, abs($1)) })
      let added = Double(bias?[output] ?? 0)
      // Where the bias is far larger than all products, larger steps keep it in range.
      let step = max(most / Self.largest, abs(added) / (scale * Self.largestBias))
      let used = step > 0 && (step * scale).isNormal ? step : 1
      elements += row.map { weight in
        Int(
          max(-Self.largest, min(Self.largest, (Double(weight) / used).rounded(.toNearestOrEven))))
      }
      self.bias.append(Int((added / (scale * used)).rounded(.toNearestOrEven)))
      steps.append(scale * used)
    }
  }
}
