// A sample of a data set: a number of evenly spaced items.

/// Evenly spaced items of another data set.
public struct DatasetSample: Dataset {
  private let whole: any Dataset
  private let places: [Int]

  /// - Parameter count: the number of items; all if there are fewer.
  public init(_ count: Int, of whole: any Dataset) {
    self.whole = whole
    let count = min(max(0, count), whole.count)
    // Whole numbers, so that the first and the last are right however many there are.
    places = (0..<count).map { ($0 * whole.count + whole.count / 2) / count }
      .map { min($0, whole.count - 1) }
  }

  public var location: String { whole.location }
  public var count: Int { places.count }
  public var classes: [String] { whole.classes }
  public var classCount: Int { whole.classCount }
  public var holdsImages: Bool { whole.holdsImages }
  public var summary: String { "\(count) of \(whole.summary)" }
  public func name(of index: Int) -> String { place(index).map(whole.name) ?? "" }
  public func path(of index: Int) -> String { place(index).map(whole.path) ?? location }
  public func label(of index: Int) -> Int? { place(index).flatMap(whole.label) }

  public func targetPath(of index: Int) -> String { place(index).map(whole.targetPath) ?? location }

  public func target(of index: Int) throws -> Target {
    try check(index)
    return try whole.target(of: places[index])
  }

  public func sample(at index: Int) throws -> Sample {
    try check(index)
    return try whole.sample(at: places[index])
  }

  private func place(_ index: Int) -> Int? {
    places.indices.contains(index) ? places[index] : nil
  }
}
