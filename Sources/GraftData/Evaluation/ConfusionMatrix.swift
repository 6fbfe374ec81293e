// Which class was taken for which, and the table of it as CSV. ConfusionMatrix+Picture draws it.

import GraftDiagnostics

/// How many items of each class were taken for each class.
public struct ConfusionMatrix: Hashable, Sendable {
  public let classCount: Int
  /// Row: the item's own class; column: the class it was taken for.
  private var counts: [Int]

  /// The most classes of which a table is kept: 128 MiB.
  static let classLimit = 4096

  /// - Throws: ``GraftError`` of kind `unsupported` for more than 4096 classes.
  public init(classCount: Int) throws {
    guard classCount > 0, classCount <= Self.classLimit else {
      throw GraftError(
        .unsupported,
        "a confusion matrix of \(classCount) classes; 1 … \(Self.classLimit) are kept")
    }
    self.classCount = classCount
    counts = [Int](repeating: 0, count: classCount * classCount)
  }

  mutating func add(label: Int, prediction: Int) {
    counts[label * classCount + prediction] += 1
  }

  /// The number of items of class `label` taken for class `prediction`; 0 outside the table.
  public subscript(label label: Int, prediction prediction: Int) -> Int {
    let classes = 0..<classCount
    guard classes.contains(label), classes.contains(prediction) else { return 0 }
    return counts[label * classCount + prediction]
  }

  /// The items of each class.
  public var supports: [Int] {
    (0..<classCount).map { label in
      counts[label * classCount..<(label + 1) * classCount].reduce(0, +)
    }
  }

  /// The items taken for each class.
  public var predictions: [Int] {
    var sums = [Int](repeating: 0, count: classCount)
    for (index, count) in counts.enumerated() { sums[index % classCount] += count }
    return sums
  }

  /// The table as CSV (RFC 4180): a header of predicted classes, then a row a class.
  /// - Parameter classes: Their names; indices where it has too few.
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
  /// The text as one field: in quotes where it holds a comma, a quote or a line break.
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
