// The median of measurements.

extension [Double] {
  /// The median, which of an even count is the mean of the two in the middle; 0 of an empty array.
  var median: Double {
    guard !isEmpty else { return 0 }
    let ordered = sorted()
    let middle = count / 2
    return count.isMultiple(of: 2) ? (ordered[middle - 1] + ordered[middle]) / 2 : ordered[middle]
  }
}
