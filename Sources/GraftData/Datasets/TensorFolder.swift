// Inputs and targets in NumPy files: x.npy or one file per input, and y.npy.

import GraftDiagnostics
import GraftIR

/// A folder with `x.npy` (N × the input's shape; with several inputs one `INPUT.npy` each) and optionally
/// `y.npy`: N class indices (also [N, 1], as whole floats, or one-hot rows), N × height × width class indices for
/// segmentation, or N × the output's shape for regression.
public struct TensorFolder: Dataset {
  public let location: String
  public let classes: [String]
  public let classCount: Int
  private let inputs: [NPYFile]
  /// The element type of each input.
  private let elements: [DataType]
  private let answers: TensorTargets

  public let count: Int
  public var holdsImages: Bool { false }
  public var summary: String { "\(count) rows of NumPy files" }

  /// - Parameters:
  ///   - inputs: The network's inputs.
  ///   - answers: The required kind of targets.
  ///   - labels: The network's class names.
  ///   - classCount: The number of its classes, if it is fixed.
  /// - Throws: ``GraftError``: `inputOutput` if a file is missing or unreadable, `invalidData` where
  ///   shapes, counts or answers do not fit; the file and the row are named.
  public init(
    _ path: String, inputs: [TensorSpecification], answers kind: TargetKind = .classes,
    labels: [String]? = nil, classCount: Int? = nil
  ) throws {
    location = path
    classes = labels ?? []
    self.inputs = try inputs.map { input in
      let file = try NPYFile(Self.file(of: input.name, in: path, isAlone: inputs.count == 1))
      guard !file.shape.isEmpty, file.rowShape == input.shape else {
        throw GraftError(
          .invalidData,
          "shape \(file.shape) does not match the input \(input.name.quotedForDisplay), "
            + "which is N × \(input.shape)",
          at: SourceLocation(file: file.path))
      }
      guard input.element.isFloatingPoint || !file.element.isFloatingPoint else {
        throw GraftError(
          .invalidData,
          "elements of \(file.element.storage.numPy), but the input \(input.name.quotedForDisplay) takes "
            + "\(input.element.rawValue)", at: SourceLocation(file: file.path),
          advice: "Save x.astype('\(input.element.storage.numPy)').")
      }
      return file
    }
    elements = inputs.map(\.element)
    guard let first = self.inputs.first else {
      throw GraftError(.invalidArgument, "the network has no inputs")
    }
    if let other = self.inputs.first(where: { $0.rowCount != first.rowCount }) {
      throw GraftError(
        .invalidData,
        "\(other.rowCount) items, but \(first.rowCount) in \(first.path.escapedForDisplay)",
        at: SourceLocation(file: other.path))
    }
    guard first.rowCount > 0 else {
      throw GraftError(.invalidData, "the file has no items", at: .init(file: first.path))
    }
    count = first.rowCount
    answers = try TensorTargets(
      path + "/y.npy", as: kind, classCount: labels?.count ?? classCount,
      items: (count, first.path))
    self.classCount =
      labels?.count ?? classCount ?? answers.columns ?? (answers.labels?.max() ?? -1) + 1
  }

  /// The file of an input's tensors; `x.npy` is that of an input that is alone.
  private static func file(of input: String, in path: String, isAlone: Bool) -> String {
    let own = path + "/" + TensorFileName.npy(input)
    return isAlone && !FolderListing.hasFile(own) ? path + "/x.npy" : own
  }

  /// The shape of an item of each input, without the batch; nil if the folder does not have readable tensors of
  /// each.
  public static func rowShapes(_ path: String, inputs: [String]) -> [[Int]]? {
    try? inputs.map { input in
      try NPYFile(file(of: input, in: path, isAlone: inputs.count == 1)).rowShape
    }
  }

  public func name(of index: Int) -> String { "\(index)" }

  public func label(of index: Int) -> Int? {
    guard let labels = answers.labels, labels.indices ~= index else { return nil }
    return labels[index]
  }

  public func sample(at index: Int) throws -> Sample {
    try check(index)
    let values = try zip(inputs, elements).map { file, element in
      try element.wholeNumbers.map { try Self.wholeRow(index, of: file, in: $0) }
        ?? Self.finiteRow(index, of: file)
    }
    if let label = label(of: index) {
      return Sample(content: .tensors(values), target: .label(label))
    }
    if let maps = answers.maps {
      let classes = try maps.integers(rows: index..<index + 1)
      let extents = maps.rowShape.filter { $0 != 1 }
      let width = extents.last ?? 1
      let map = try LabelMap(
        width: width, height: classes.count / max(1, width),
        values: classes.map { UInt8(truncatingIfNeeded: $0) })
      return Sample(content: .tensors(values), target: .map(map))
    }
    let target = try answers.values.map { try Self.finiteRow(index, of: $0) }
    return Sample(content: .tensors(values), target: target.map { .values($0) } ?? .unknown)
  }

  /// - Throws: ``GraftError`` of kind `invalidData` if a number is not in `range`.
  private static func wholeRow(
    _ index: Int, of file: NPYFile, in range: ClosedRange<Int>
  ) throws -> [Float] {
    let row = try file.integers(rows: index..<index + 1)
    if let value = row.first(where: { !range.contains($0) }) {
      throw GraftError(
        .invalidData,
        "row \(index) has the value \(value); the input takes \(range.lowerBound) to \(range.upperBound)",
        at: SourceLocation(file: file.path))
    }
    return row.map { Float($0) }
  }

  /// - Throws: ``GraftError`` of kind `invalidData` for a NaN, or a value that is too large for float32.
  private static func finiteRow(_ index: Int, of file: NPYFile) throws -> [Float] {
    let row = try file.floats(rows: index..<index + 1)
    guard let place = row.firstIndex(where: { !$0.isFinite }) else { return row }
    var (rest, axes) = (place, [Int]())
    for extent in file.rowShape.reversed() {
      axes.insert(rest % extent, at: 0)
      rest /= extent
    }
    throw GraftError(
      .invalidData,
      "row \(index) has the value \(row[place])" + (axes.isEmpty ? "" : " at \(axes)")
        + "; all must be finite float32 numbers",
      at: SourceLocation(file: file.path),
      advice: "Find such rows: ~numpy.isfinite(x).reshape(len(x), -1).all(1).")
  }
}
