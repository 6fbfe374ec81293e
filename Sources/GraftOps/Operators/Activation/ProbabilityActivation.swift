// What makes probabilities of logits, at the end of classifiers.

/// An operator that makes probabilities of logits.
public protocol ProbabilityActivation: Operator {
  static var probabilities: Probabilities { get }
  /// The axes of x, of rank `rank`, over which the probabilities add up to 1; empty where each is of its own.
  func normalizedAxes(rank: Int) -> [Int]
}

/// What an operator makes of logits.
public enum Probabilities: Hashable, Sendable {
  /// Probabilities of classes of which one is right.
  case softmax
  /// The logarithms of such.
  case logSoftmax
  /// For each class the probability that it is right.
  case sigmoid
}
