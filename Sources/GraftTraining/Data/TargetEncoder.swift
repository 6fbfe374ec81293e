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
    return balancedWeights(counts: counts)
  }

  /// Weights inversely proportional to the numbers of items of each class, as ``balancedWeights(_:classCount:)``.
  static func balancedWeights(counts: [Int]) -> [Double] {
    let total = counts.reduce(0, +)
    return counts.map { Double(total) / Double(counts.count * max(1, $0)) }
  }

  /// Targets [N, C] whose summed cross-entropy is the weighted mean over the batch as in PyTorch: each item's
  /// smoothed loss times its class weight, divided by the sum of these weights.
  ///
  /// Labels that are not classes, such as ``LabelMap/ignored``, count nothing.
  func encode(labels: some Collection<Int>) -> [Float] {
    let weights = classWeights ?? Array(repeating: 1, count: classCount)
    let total = labels.reduce(0.0) { $0 + (weights.indices.contains($1) ? weights[$1] : 0) }
    // The rows of the targets of each class.
    let even = labelSmoothing / Double(classCount)
    let rows = (0..<classCount).map { label in
      (0..<classCount).map { index in
        let probability = even + (index == label ? 1 - labelSmoothing : 0)
        return Float(share * probability * weights[index] / total)
      }
    }
    var targets = [Float](repeating: 0, count: labels.count * classCount)
    for (row, label) in labels.enumerated() where rows.indices.contains(label) {
      for index in 0..<classCount { targets[row * classCount + index] = rows[label][index] }
    }
    return targets
  }
}
