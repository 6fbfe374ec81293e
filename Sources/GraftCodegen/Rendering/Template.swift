// The template engine: C text with @names@. There are no conditions or loops: specializations differ in
// constants that the C compiler evaluates, or in values given here.

import Foundation
import GraftDiagnostics

/// A text with placeholders of the form `@name@`.
///
/// A placeholder alone on its line is replaced by all lines of its value with the same indentation; an empty
/// value removes the line.
struct Template {
  let name: String
  let text: String

  init(name: String, text: String) {
    self.name = name
    self.text = text
  }

  /// A template that is embedded in the program.
  init(_ name: String, _ bytes: [UInt8]) {
    self.init(name: name, text: String(decoding: bytes, as: UTF8.self))
  }

  /// The text with every placeholder replaced.
  /// - Throws: ``GraftError`` of kind `inconsistency` that names template, line and placeholder
  ///   where `values` lacks one, or where an `@` has no partner.
  func render(_ values: [String: String]) throws -> String {
    var result: [String] = []
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() {
      let parts = line.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
      guard parts.count > 1 else {
        result.append(String(line))
        continue
      }
      guard parts.count % 2 == 1 else {
        throw GraftError(
          .inconsistency, "template \(name), line \(index + 1): an unmatched @")
      }
      func value(_ placeholder: String) throws -> String {
        guard let value = values[placeholder] else {
          throw GraftError(
            .inconsistency, "template \(name), line \(index + 1): no value for @\(placeholder)@")
        }
        return value
      }
      let isAlone = parts.count == 3 && (parts[0] + parts[2]).allSatisfy { $0 == " " }
      if isAlone {
        let replaced = try value(parts[1])
        guard !replaced.isEmpty else { continue }
        for inner in replaced.split(separator: "\n", omittingEmptySubsequences: false) {
          result.append(inner.isEmpty ? "" : parts[0] + inner)
        }
      } else {
        var joined = ""
        for (position, part) in parts.enumerated() {
          joined += position % 2 == 0 ? part : try value(part)
        }
        result.append(joined)
      }
    }
    return result.joined(separator: "\n")
  }
}

/// The templates that are embedded in the program: each family of kernels adds its own.
enum Templates {}
