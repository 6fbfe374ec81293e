// The operator groups of graph drawings.

/// The group of an operator, for the legend of the HTML page and the colors of drawings.
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
  /// Movement, selection, reshaping and conversion of elements; shape arithmetic.
  case movement
  /// Losses, gradient operators, updates.
  case training
}
