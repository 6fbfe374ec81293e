// What a row of a network's outputs says: its probabilities, its best classes, its loss.

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

  /// The `count` classes of the highest scores, best first; of equal ones the lower index is first,
  /// and what is not a number is last.
  public static func best(_ count: Int, of scores: some Collection<Float>) -> [Int] {
    let ranked = scores.enumerated().sorted { first, second in
      if first.element == second.element { return first.offset < second.offset }
      if first.element.isNaN { return second.element.isNaN && first.offset < second.offset }
      return second.element.isNaN || first.element > second.element
    }
    return ranked.prefix(max(0, count)).map(\.offset)
  }

  /// −log softmax(scores)[label].
  static func crossEntropy(logits scores: some Collection<Float>, label score: Float) -> Double {
    let greatest = Double(scores.max() ?? 0)
    let sum = scores.reduce(0.0) { $0 + exp(Double($1) - greatest) }
    return greatest + log(sum) - Double(score)
  }

  /// −log p, with p no smaller than single precision tells from zero.
  static func crossEntropy(probability: Float) -> Double {
    -log(Double(max(probability, .leastNormalMagnitude)))
  }
}
