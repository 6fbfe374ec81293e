// Activations that convert logits to probabilities at the end of classifiers.

/// An operator that converts logits to probabilities.
public protocol ProbabilityActivation: Operator {
  static var probabilities: Probabilities { get }
  /// The axes of x, of rank `rank`, over which the probabilities sum to 1; empty if they are independent.
  func normalizedAxes(rank: Int) -> [Int]
}

/// The kind of an operator's results.
public enum Probabilities: Hashable, Sendable {
  /// Probabilities of mutually exclusive classes.
  case softmax
  /// Log probabilities of mutually exclusive classes.
  case logSoftmax
  /// Independent probabilities per class.
  case sigmoid
}
