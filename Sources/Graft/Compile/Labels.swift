// Class names from a text file with one per line, or from JSON as other tools write it. Duplicate names are
// made unique here.

import Foundation
import GraftDiagnostics

/// Class names in the order of a network's output.
public enum Labels {
  /// Reads one name per line (blank lines are errors except at the end), or JSON: a list of
  /// names, names by index (`{"0": "tench"}`, also `["n01440764", "tench"]` for each, and Hugging Face's
  /// `id2label`), or indices by name (torchvision's `class_to_idx`). A byte-order mark is skipped.
  ///
  /// Classes with the same name become `crane (1)`, `crane (2)`, with a warning.
  /// - Throws: ``GraftError`` if the file cannot be read, is not UTF-8, or has a class without a name.
  public static func read(from path: String) throws -> (names: [String], warnings: [Warning]) {
    let location = SourceLocation(file: path)
    guard let data = FileManager.default.contents(atPath: path) else {
      throw GraftError(.inputOutput, "the labels cannot be read", at: location)
    }
    // UTF-16 without a byte-order mark is detected by zero bytes.
    guard !data.starts(with: [0xFF, 0xFE]), !data.starts(with: [0xFE, 0xFF]), !data.contains(0)
    else {
      throw GraftError(
        .invalidData, "the labels are UTF-16 text", at: location,
        advice: "Save the file as UTF-8.")
    }
    let content = data.starts(with: [0xEF, 0xBB, 0xBF]) ? data.dropFirst(3) : data
    guard let text = String(validating: content, as: UTF8.self) else {
      throw GraftError(
        .invalidData, "the labels are not UTF-8 text", at: location,
        advice: "Save the file as UTF-8.")
    }
    let names = try at(location) { try Self.names(inJSON: text, path: path) ?? lines(of: text) }
    return tellingApart(names, at: location)
  }

  private static func lines(of text: String) throws -> [String] {
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .map { $0.trimmingCharacters(in: .whitespaces) }
    while lines.last?.isEmpty == true { lines.removeLast() }
    guard !lines.isEmpty else { throw GraftError(.invalidData, "the file has no labels") }
    if let blank = lines.firstIndex(of: "") {
      throw GraftError(.invalidData, "line \(blank + 1) is blank")
    }
    return lines
  }

  /// Nil if the text is not JSON, such as a line that starts with a bracket.
  private static func names(inJSON text: String, path: String) throws -> [String]? {
    let isNamedSo = path.lowercased().hasSuffix(".json")
    let start = text.first { !$0.isWhitespace }
    guard isNamedSo || start == "[" || start == "{" else { return nil }
    guard let value = try? JSONSerialization.jsonObject(with: Data(text.utf8)) else {
      if isNamedSo { throw GraftError(.invalidData, "the labels are not valid JSON") }
      return nil
    }
    var entries: [(index: Int, name: String?)] = []
    if let list = value as? [Any] {
      entries = list.enumerated().map { ($0, name($1)) }
    } else if var object = value as? [String: Any] {
      if let inner = object["id2label"] as? [String: Any] { object = inner }
      entries = object.map { key, value in
        if let index = value as? Int { return (index, key) }
        return (Int(key) ?? -1, name(value))
      }.sorted { $0.0 < $1.0 }
    }
    for (place, entry) in entries.enumerated() {
      guard entry.index == place else {
        throw GraftError(.invalidData, "the indices of the labels are not 0 … \(entries.count - 1)")
      }
      guard entry.name?.isEmpty == false else {
        throw GraftError(.invalidData, "the label \(entry.index) is not a name")
      }
    }
    guard !entries.isEmpty else { throw GraftError(.invalidData, "the file has no labels") }
    return entries.compactMap(\.name)
  }

  /// A name, or the last of several: ImageNet's index has the WordNet identifier first.
  private static func name(_ value: Any) -> String? {
    let name = value as? String ?? (value as? [Any])?.last as? String
    return name?.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Numbers classes with the same name. Names that differ only in their Unicode normalization form are the
  /// same, as in folders.
  private static func tellingApart(
    _ names: [String], at location: SourceLocation
  ) -> (names: [String], warnings: [Warning]) {
    let groups = Dictionary(grouping: names.indices) { names[$0] }.filter { $0.value.count > 1 }
    var taken = Set(names)
    var result = names
    var warnings: [Warning] = []
    for (name, places) in groups.sorted(by: { $0.value[0] < $1.value[0] }) {
      var number = 0
      for place in places {
        repeat { number += 1 } while taken.contains("\(name) (\(number))")
        result[place] = "\(name) (\(number))"
        taken.insert(result[place])
      }
      let shown = places.map { "\(result[$0].quotedForDisplay) is class \($0)" }
      warnings.append(
        Warning(
          "\(places.count) classes are named \(name.quotedForDisplay): "
            + shown.prefix(6).joined(separator: ", ") + (shown.count > 6 ? ", …" : ""),
          at: location))
    }
    return (result, warnings)
  }
}
