// Windows that can take over explicit padding.

/// An operator whose window can take over the padding of height and width before it.
public protocol PaddingFolding: Operator {
  /// The operator on what is not padded; nil if its windows would see other values.
  /// - Parameters:
  ///   - added: how many rows and columns are added: [top, left, bottom, right].
  ///   - value: what they hold.
  ///   - isNonNegative: whether nothing inside the padding is negative.
  func folding(pads added: [Int], of value: Double, isNonNegative: Bool) -> (any Operator)?
}
