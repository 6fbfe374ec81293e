// The shape of an input in `--input-shape`: `Nx3x224x224`.

import GraftIR

/// A shape written as extents joined by `x`, where N is the dynamic batch size.
public struct InputShape: Hashable, Sendable {
  public var shape: TensorShape

  /// Nil if `text` is not such a shape.
  public init?(_ text: String) {
    var dimensions: [Dimension] = []
    for part in text.split(separator: "x", omittingEmptySubsequences: false) {
      if part == "N" {
        dimensions.append(.batch)
      } else if let extent = Int(part), extent > 0 {
        dimensions.append(Dimension(extent))
      } else {
        return nil
      }
    }
    guard !dimensions.isEmpty else { return nil }
    shape = TensorShape(dimensions)
  }
}
