// Maps class names to the indices of a network's output.

import GraftDiagnostics

/// The output index of each class of a data set.
struct ClassMapping {
  /// The network's classes in the order of their indices.
  let classes: [String]
  /// The index of each name.
  let indices: [Int]

  /// - Parameters:
  ///   - names: The data set's classes, in code-point order.
  ///   - labels: The bundle's labels, if it has them; classes are matched by name.
  ///   - count: The number of the network's classes, if it is fixed.
  /// - Throws: ``GraftError`` of kind `invalidData` that names the classes that do not match.
  init(names: [String], labels: [String]?, count: Int?, at location: String) throws {
    guard let labels else {
      if let count, count != names.count {
        throw GraftError(
          .invalidData,
          (names.count == 1 ? "there is 1 class" : "there are \(names.count) classes")
            + " (\(Self.list(names))), but the network has \(count) "
            + "classes and no labels to match them with",
          at: SourceLocation(file: location),
          advice: "Compile the bundle with --labels, or provide data with all of its classes.")
      }
      classes = names
      indices = Array(names.indices)
      return
    }
    var known: [String: [Int]] = [:]
    for (index, label) in labels.enumerated() { known[label, default: []].append(index) }
    let strangers = names.filter { known[$0] == nil }
    guard strangers.isEmpty else {
      throw GraftError(
        .invalidData,
        "\(strangers.count) of \(names.count) \(names.count == 1 ? "class" : "classes") "
          + "\(strangers.count == 1 ? "is" : "are") not among the network's labels: "
          + Self.list(strangers),
        at: SourceLocation(file: location),
        advice: Self.twins(of: strangers, among: labels)
          ?? "Its labels are: \(Self.list(labels)).")
    }
    if let twice = names.first(where: { (known[$0]?.count ?? 0) > 1 }) {
      throw GraftError(
        .invalidData, "the network has more than one class labeled \(twice.quotedForDisplay)",
        at: SourceLocation(file: location), advice: "Make its labels unique.")
    }
    classes = labels
    indices = names.compactMap { known[$0]?.first }
  }

  /// Advice if several classes have the same name and are numbered: a folder must use a numbered name.
  private static func twins(of names: [String], among labels: [String]) -> String? {
    for name in names {
      let twins = labels.filter { label in
        label.hasPrefix(name + " (") && label.hasSuffix(")")
          && label.dropFirst(name.count + 2).dropLast().allSatisfy(\.isNumber)
      }
      if twins.count > 1 {
        return "The network has \(twins.count) classes named \(name.quotedForDisplay); rename "
          + "the folder to one of \(list(twins))."
      }
    }
    return nil
  }

  private static func list(_ names: [String]) -> String {
    let shown = names.prefix(10).map(\.quotedForDisplay).joined(separator: ", ")
    return names.count > 10 ? "\(shown) and \(names.count - 10) more" : shown
  }
}
