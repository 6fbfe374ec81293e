// From classes or values to the dense targets of a training step, in which the mean over a batch, label
// smoothing and class weights are folded.

import GraftData
import GraftDiagnostics

/// Encodes targets of one data set.
struct TargetEncoder {
  let classCount: Int
  var labelSmoothing = 0.0
  /// One weight for each class; nil weighs all alike.
  var classWeights: [Double]?
  /// The share of the loss that is the labels' own, where a teacher has the rest.
  var share = 1.0

  /// Weights in inverse proportion to the classes' counts, 1 on average over the items.
  static func balancedWeights(_ labels: [Int], classCount: Int) -> [Double] {
    var counts = Array(repeating: 0, count: classCount)
    for label in labels where counts.indices.contains(label) { counts[label] += 1 }
    return counts.map { Double(labels.count) / Double(classCount * max(1, $0)) }
  }

  /// Rows [N, C] whose cross-entropies sum to the weighted mean over the batch as PyTorch defines it: each
  /// item's loss, smoothed, times its class's weight, over the sum of those weights.
  func encode(labels: ArraySlice<Int>) -> [Float] {
    let total = labels.reduce(0.0) { $0 + weight($1) }
    let even = labelSmoothing / Double(classCount)
    var targets = [Float](repeating: 0, count: labels.count * classCount)
    for (row, label) in labels.enumerated() {
      for index in 0..<classCount {
        let probability = even + (index == label ? 1 - labelSmoothing : 0)
        targets[row * classCount + index] = Float(share * probability * weight(index) / total)
      }
    }
    return targets
  }

  private func weight(_ label: Int) -> Double { classWeights.map { $0[label] } ?? 1 }
}
