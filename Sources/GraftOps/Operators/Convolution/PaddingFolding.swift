// Window operators that can absorb explicit padding.

/// An operator whose window can absorb preceding padding of height and width.
public protocol PaddingFolding: Operator {
  /// The equivalent operator on the unpadded operand; nil if its windows would read other values.
  /// - Parameters:
  ///   - added: how many rows and columns are added: [top, left, bottom, right].
  ///   - value: the padding value.
  ///   - isNonNegative: whether nothing inside the padding is negative.
  func folding(pads added: [Int], of value: Double, isNonNegative: Bool) -> (any Operator)?
}
