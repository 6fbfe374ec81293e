// The targets in y.npy of a folder of tensors: class indices of any numeric type, one-hot rows, or values.
// All errors are found when the folder is opened.

import GraftDiagnostics

/// The required kind of targets.
public enum TargetKind: Hashable, Sendable {
  /// Not needed.
  case none
  /// One class index per item.
  case classes
  /// Multi-label targets: a 0 or 1 per class, or the index of the only class.
  case labels
  /// The class of every pixel, for scores of this size.
  case maps(height: Int, width: Int)
  /// Values of this output per item.
  case values(TensorSpecification)
  /// An image per item, or the values of this output, which is an image.
  case pictures(TensorSpecification)
}

/// The targets in one file.
struct TensorTargets {
  /// The class of each item, if classes are needed.
  private(set) var labels: [Int]?
  /// The number of classes from the file: the columns of one-hot rows.
  private(set) var columns: Int?
  /// The file of class indices of every pixel, if these are needed.
  private(set) var maps: NPYFile?
  /// The file of values, if values are needed.
  private(set) var values: NPYFile?

  /// - Parameters:
  ///   - classCount: The number of classes, if it is fixed.
  ///   - items: The required number of targets, and the file that determines it.
  /// - Throws: ``GraftError`` of kind `invalidData` that names the file, the row and the value.
  init(
    _ path: String, as kind: TargetKind, classCount: Int?, items: (count: Int, file: String)
  ) throws {
    if case .none = kind { return }
    let location = SourceLocation(file: path)
    guard FolderListing.hasFile(path) else {
      throw GraftError(
        .invalidData, "there is no such file, so the items have no labels", at: location,
        advice: "Save the labels next to the inputs: numpy.save('y.npy', labels).")
    }
    let file = try NPYFile(path)
    guard !file.shape.isEmpty, file.rowCount == items.count else {
      throw GraftError(
        .invalidData,
        "\(file.rowCount) labels (shape \(file.shape)), but \(items.count) items in "
          + items.file.escapedForDisplay, at: location)
    }
    switch kind {
    case .values(let output), .pictures(let output):
      try Self.check(file, fits: output)
      values = file
      return
    case .maps(let height, let width):
      columns = try Self.checkMaps(file, height: height, width: width, classCount: classCount)
      maps = file
      return
    case .none, .classes, .labels: break
    }
    guard file.rowShape.count(where: { $0 != 1 }) <= 1, file.rowElements >= 1 else {
      throw GraftError(
        .invalidData, "shape \(file.shape) is neither N class indices nor N one-hot rows",
        at: location)
    }
    if case .labels = kind, file.rowElements > 1 {
      columns = file.rowElements
      try Self.checkShares(in: file, classCount: classCount)
      values = file
      return
    }
    let isOneHot = file.rowElements > 1
    columns = isOneHot ? file.rowElements : nil
    if let columns, let classCount, columns != classCount {
      throw GraftError(
        .invalidData, "one-hot rows of \(columns) columns, but there are \(classCount) classes",
        at: location)
    }
    labels = try isOneHot ? Self.oneHotLabels(in: file) : Self.indices(in: file)
    try checkRange(below: columns ?? classCount, at: location)
  }

  private static func check(_ file: NPYFile, fits output: TensorSpecification) throws {
    // Axes of extent 1 are ignored: [N] and [N, 1] are equivalent.
    guard file.rowShape.filter({ $0 != 1 }) == output.shape.filter({ $0 != 1 }) else {
      throw GraftError(
        .invalidData,
        "shape \(file.shape) of \(file.element.storage.numPy) is not N × the output's shape "
          + "\(output.shape)", at: SourceLocation(file: file.path),
        advice: !file.element.isFloatingPoint
          ? "Use --loss cross-entropy for class indices; mse needs values." : nil)
    }
  }

  /// Checks that every row is a map of class indices, or 255.
  /// - Returns: one more than the largest class.
  private static func checkMaps(
    _ file: NPYFile, height: Int, width: Int, classCount: Int?
  ) throws -> Int {
    let location = SourceLocation(file: file.path)
    guard file.rowShape.filter({ $0 != 1 }) == [height, width].filter({ $0 != 1 }),
      !file.element.isFloatingPoint
    else {
      throw GraftError(
        .invalidData,
        "shape \(file.shape) of \(file.element.storage.numPy) is not N × \(height) × \(width) class "
          + "indices", at: location,
        advice:
          "Save the class of every pixel of the network's output as integers, 255 where there is "
          + "none.")
    }
    var most = -1
    for row in 0..<file.rowCount {
      for value in try file.integers(rows: row..<row + 1) where value != LabelMap.ignored {
        guard value >= 0, value < classCount ?? LabelMap.classLimit else {
          throw GraftError(
            .invalidData,
            "row \(row) has the class \(value); "
              + (classCount.map { "the \($0) classes are 0 … \($0 - 1)" }
                ?? "there may be at most \(LabelMap.classLimit) classes")
              + ", and 255 is no class", at: location)
        }
        most = max(most, value)
      }
    }
    return most + 1
  }

  /// The number of values to read at a time.
  private static let chunk = 1 << 16

  private static func indices(in file: NPYFile) throws -> [Int] {
    var labels: [Int] = []
    labels.reserveCapacity(file.rowCount)
    for first in stride(from: 0, to: file.rowCount, by: chunk) {
      let rows = first..<min(first + chunk, file.rowCount)
      if !file.element.isFloatingPoint {
        labels += try file.integers(rows: rows)
        continue
      }
      for value in try file.floats(rows: rows) {
        guard let label = Int(exactly: value) else {
          throw GraftError(
            .invalidData, "row \(labels.count) is \(value), which is not a class index",
            at: SourceLocation(file: file.path),
            advice: "Class indices are integers from 0; use --loss mse for values.")
        }
        labels.append(label)
      }
    }
    return labels
  }

  private static func oneHotLabels(in file: NPYFile) throws -> [Int] {
    let width = file.rowElements
    var labels: [Int] = []
    labels.reserveCapacity(file.rowCount)
    let step = max(1, chunk / width)
    for first in stride(from: 0, to: file.rowCount, by: step) {
      let values = try file.floats(rows: first..<min(first + step, file.rowCount))
      for start in stride(from: 0, to: values.count, by: width) {
        let row = values[start..<start + width]
        guard let place = row.firstIndex(of: 1), row.count(where: { $0 == 0 }) == width - 1 else {
          let shown = row.prefix(8).map { "\($0)" }.joined(separator: ", ")
          throw GraftError(
            .invalidData,
            "row \(labels.count) is [\(shown)\(width > 8 ? ", …" : "")], which is not one-hot (a single "
              + "1, otherwise zeros)",
            at: SourceLocation(file: file.path),
            advice: "Classes are N indices or N one-hot rows; use --loss mse for values.")
        }
        labels.append(place - start)
      }
    }
    return labels
  }

  /// Checks that each multi-label target is between 0 (absent) and 1 (present).
  private static func checkShares(in file: NPYFile, classCount: Int?) throws {
    let width = file.rowElements
    if let classCount, width != classCount {
      throw GraftError(
        .invalidData, "rows of \(width) columns, but there are \(classCount) classes",
        at: SourceLocation(file: file.path))
    }
    let step = max(1, chunk / width)
    for first in stride(from: 0, to: file.rowCount, by: step) {
      let values = try file.floats(rows: first..<min(first + step, file.rowCount))
      guard let place = values.firstIndex(where: { !($0 >= 0 && $0 <= 1) }) else { continue }
      throw GraftError(
        .invalidData,
        "row \(first + place / width) has \(values[place]) for class \(place % width), which must be from 0 to "
          + "1", at: SourceLocation(file: file.path))
    }
  }

  private func checkRange(below count: Int?, at location: SourceLocation) throws {
    guard let labels,
      let row = labels.firstIndex(where: { label in
        label < 0 || count.map { label >= $0 } ?? false
      })
    else { return }
    let begin = labels.min() ?? 0
    throw GraftError(
      .invalidData,
      "row \(row) has the class \(labels[row]); "
        + (count.map { "the \($0) classes are 0 … \($0 - 1)" } ?? "classes are numbered from 0"),
      at: location,
      advice: begin == 1
        ? "If the labels start at 1, save y - 1." : nil)
  }
}
