// Converts classes or values to the dense targets of a training step, which include the mean over the batch,
// label smoothing and class weights.

import GraftData
import GraftDiagnostics

/// Encodes targets of one data set.
struct TargetEncoder {
  let classCount: Int
  var labelSmoothing = 0.0
  /// One weight per class; nil for equal weights.
  var classWeights: [Double]?
  /// The weight of the labels in the loss, 0 to 1; a teacher has the rest.
  var share = 1.0

  /// Weights inversely proportional to the class counts, with mean 1 over the items.
  static func balancedWeights(_ labels: [Int], classCount: Int) -> [Double] {
    var counts = Array(repeating: 0, count: classCount)
    for label in labels where counts.indices.contains(label) { counts[label] += 1 }
    return counts.map { Double(labels.count) / Double(classCount * max(1, $0)) }
  }

  /// Targets [N, C] whose summed cross-entropy is the weighted mean over the batch as in PyTorch: each item's
  /// smoothed loss times its class weight, divided by the sum of these weights.
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
