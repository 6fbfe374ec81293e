// The confusion matrix and its CSV. ConfusionMatrix+Drawing draws it.

import GraftDiagnostics

/// The number of items by true and predicted class.
public struct ConfusionMatrix: Hashable, Sendable {
  public let classCount: Int
  /// The nonzero cells, by true class · classes + predicted class; sparse because few pairs are confused.
  private var counts: [Int: Int] = [:]

  /// - Throws: ``GraftError`` of kind `invalidArgument` for no classes, or more than 2³⁰.
  public init(classCount: Int) throws {
    guard classCount > 0, classCount <= 1 << 30 else {
      throw GraftError(.invalidArgument, "a confusion matrix of \(classCount) classes")
    }
    self.classCount = classCount
  }

  mutating func add(label: Int, prediction: Int, count: Int = 1) {
    if count > 0 { counts[label * classCount + prediction, default: 0] += count }
  }

  /// The number of items of class `label` predicted as class `prediction`; 0 outside the matrix.
  public subscript(label label: Int, prediction prediction: Int) -> Int {
    let classes = 0..<classCount
    guard classes.contains(label), classes.contains(prediction) else { return 0 }
    return counts[label * classCount + prediction] ?? 0
  }

  /// The nonzero cells, row by row.
  public var cells: [(label: Int, prediction: Int, count: Int)] {
    counts.sorted { $0.key < $1.key }.map { ($0.key / classCount, $0.key % classCount, $0.value) }
  }

  /// The number of items of each class.
  public var supports: [Int] {
    var sums = [Int](repeating: 0, count: classCount)
    for (cell, count) in counts { sums[cell / classCount] += count }
    return sums
  }

  /// The number of items predicted as each class.
  public var predictions: [Int] {
    var sums = [Int](repeating: 0, count: classCount)
    for (cell, count) in counts { sums[cell % classCount] += count }
    return sums
  }

  /// The matrix as CSV (RFC 4180): a header of predicted classes, then one row per true class.
  /// - Parameter classes: The class names; indices if there are too few.
  public func csv(classes: [String] = []) -> String {
    let names = names(classes)
    let lines = (0..<classCount).map { label in
      ([CSV.field(names[label])]
        + (0..<classCount).map { String(self[label: label, prediction: $0]) })
        .joined(separator: ",")
    }
    let header = (["true\\predicted"] + names.map(CSV.field)).joined(separator: ",")
    return ([header] + lines).joined(separator: "\r\n") + "\r\n"
  }

  func names(_ classes: [String]) -> [String] {
    (0..<classCount).map { classes.indices ~= $0 ? classes[$0] : String($0) }
  }
}

/// Text for tables (RFC 4180).
public enum CSV {
  /// The text as one field: in quotes if it contains a comma, a quote or a line break.
  public static func field(_ text: String) -> String {
    let special: Set<Unicode.Scalar> = [",", "\"", "\n", "\r"]
    guard text.unicodeScalars.contains(where: special.contains) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
  }

  /// Fields as one line with its line break.
  public static func line(_ fields: [String]) -> String {
    fields.map(field).joined(separator: ",") + "\r\n"
  }
}
