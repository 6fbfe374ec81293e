// Sequences without duplicates.

extension Sequence where Element: Hashable {
  /// The elements without duplicates, in order.
  func uniqued() -> [Element] {
    var seen = Set<Element>()
    return filter { seen.insert($0).inserted }
  }
}
