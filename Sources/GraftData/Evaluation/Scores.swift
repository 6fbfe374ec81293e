// Probabilities, best classes and loss of one row of a network's outputs.

import Glibc

/// Functions of the scores of one item's classes.
public enum Scores {
  /// exp(sᵢ) / Σ exp(sⱼ), computed in double precision without overflow.
  public static func softmax(_ scores: some Collection<Float>) -> [Float] {
    guard let greatest = scores.max() else { return [] }
    let powers = scores.map { exp(Double($0) - Double(greatest)) }
    let sum = powers.reduce(0, +)
    return powers.map { Float($0 / sum) }
  }

  /// The `count` classes with the highest scores in descending order; ties by lower index, NaN last.
  public static func best(_ count: Int, of scores: some Collection<Float>) -> [Int] {
    // The best so far, in order; sorting all would be wasteful for a small count.
    var best: [(index: Int, score: Float)] = []
    let count = max(0, min(count, scores.count))
    for (index, score) in scores.enumerated() {
      if best.count == count {
        guard let last = best.last, score > last.score || (last.score.isNaN && !score.isNaN) else {
          continue
        }
        best.removeLast()
      }
      let place = best.lastIndex { !(score > $0.score || ($0.score.isNaN && !score.isNaN)) }
      best.insert((index, score), at: place.map { $0 + 1 } ?? 0)
    }
    return best.map(\.index)
  }

  /// −log softmax(scores)[label].
  static func crossEntropy(logits scores: some Collection<Float>, label score: Float) -> Double {
    let greatest = Double(scores.max() ?? 0)
    let sum = scores.reduce(0.0) { $0 + exp(Double($1) - greatest) }
    return greatest + log(sum) - Double(score)
  }

  /// The mean over the classes of −t · log p − (1 − t) · log(1 − p).
  static func binaryCrossEntropy(
    probabilities: some Collection<Float>, targets: some Collection<Float>
  ) -> Double {
    let sum = zip(probabilities, targets).reduce(0.0) { sum, pair in
      let (probability, target) = (pair.0, Double(pair.1))
      return sum + target * crossEntropy(probability: probability)
        + (1 - target) * crossEntropy(probability: 1 - probability)
    }
    return sum / Double(max(1, probabilities.count))
  }

  /// log(1 + eᶻ) − t · z for a logit z and a target t, computed without overflow.
  public static func binaryCrossEntropy(logit: Double, target: Double) -> Double {
    max(logit, 0) - logit * target + log1p(exp(-abs(logit)))
  }

  /// −log p, with p at least the smallest positive float32.
  static func crossEntropy(probability: Float) -> Double {
    -log(Double(max(probability, .leastNormalMagnitude)))
  }
}
