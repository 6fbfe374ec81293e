// The groups that drawings of graphs sort operators into.

/// What kind of work an operator does, as the HTML page's legend and the colors of drawings tell it.
public enum OperatorGroup: String, CaseIterable, Sendable {
  case convolution
  /// Products of matrices.
  case matrix
  case normalization
  case activation
  /// Pools and reductions.
  case pooling
  /// Arithmetic and comparisons, element by element.
  case arithmetic
  /// The same elements, or some of them, in another place, shape or type; shape arithmetic.
  case movement
  /// Losses, what gradients are made of, updates.
  case training
}
