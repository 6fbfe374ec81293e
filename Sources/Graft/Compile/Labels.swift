// The names of the classes: a text file with one a line.

import Foundation
import GraftDiagnostics

/// Class names in the order of a network's output.
public enum Labels {
  /// Reads one name a line; blank lines at the end do not count, others do.
  /// - Throws: ``GraftError`` where the file cannot be read, is not UTF-8, is empty or repeats a name.
  public static func read(from path: String) throws -> [String] {
    let location = SourceLocation(file: path)
    guard let data = FileManager.default.contents(atPath: path) else {
      throw GraftError(.inputOutput, "the labels cannot be read", at: location)
    }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw GraftError(.invalidData, "the labels are not UTF-8 text", at: location)
    }
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .map { $0.trimmingCharacters(in: .whitespaces) }
    while lines.last?.isEmpty == true { lines.removeLast() }
    guard !lines.isEmpty else {
      throw GraftError(.invalidData, "there is no label in it", at: location)
    }
    var seen: [String: Int] = [:]
    for (index, line) in lines.enumerated() {
      if line.isEmpty {
        throw GraftError(.invalidData, "line \(index + 1) is blank", at: location)
      }
      if let first = seen.updateValue(index, forKey: line) {
        throw GraftError(
          .invalidData,
          "lines \(first + 1) and \(index + 1) are both \(line.quotedForDisplay)", at: location)
      }
    }
    return lines
  }
}
