// Constant indices as a few regular runs, each of which one strided loop copies: ranges, repetitions, and what
// resizing to the nearest element chooses.

/// The indices first + i · step + j · innerStep for i < count and, within each i, j < innerCount.
struct IndexRun: Equatable {
  let first: Int
  let count: Int
  let step: Int
  let innerCount: Int
  let innerStep: Int

  /// The number of indices.
  var length: Int { count * innerCount }

  /// The indices in their order as runs, each as long as possible; nil if these are more than `limit`.
  static func covering(_ indices: [Int], atMost limit: Int) -> [IndexRun]? {
    var runs: [IndexRun] = []
    var rest = indices[...]
    while let first = rest.first {
      guard runs.count < limit else { return nil }
      let run = IndexRun(from: first, of: rest)
      runs.append(run)
      rest = rest.dropFirst(run.length)
    }
    return runs
  }

  private init(from first: Int, of indices: ArraySlice<Int>) {
    func index(_ place: Int) -> Int? {
      let position = indices.startIndex + place
      return position < indices.endIndex ? indices[position] : nil
    }
    let innerStep = (index(1) ?? first) - first
    var innerCount = 1
    while index(innerCount) == first + innerCount * innerStep { innerCount += 1 }
    let step = (index(innerCount) ?? first) - first
    var length = innerCount
    while (0..<innerCount).allSatisfy({
      index(length + $0) == first + length / innerCount * step + $0 * innerStep
    }) {
      length += innerCount
    }
    self.first = first
    count = length / innerCount
    self.step = count == 1 ? 0 : step
    (self.innerCount, self.innerStep) = (innerCount, innerStep)
  }
}
