// Shared code of Graft's HTML pages: embedded templates, and the digests of style and script for the content
// security policy.

import Crypto
import Foundation
import GraftDiagnostics

/// Fills templates.
package enum PageTemplate {
  package static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  /// The source expression of Content Security Policy Level 3, section 2.3.1.
  package static func digest(_ text: String) -> String {
    "'sha256-\(Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString())'"
  }

  /// Replaces each `{{name}}` of a template; values are not expanded again.
  /// - Throws: ``GraftError`` of kind `inconsistency` if a name has no value.
  package static func fill(_ template: String, _ values: [String: String]) throws -> String {
    var result = ""
    var rest = template[...]
    while let open = rest.range(of: "{{"), let close = rest[open.upperBound...].range(of: "}}") {
      let name = String(rest[open.upperBound..<close.lowerBound])
      guard let value = values[name] else {
        throw GraftError(.inconsistency, "a page asks for \(name.quotedForDisplay)")
      }
      result += rest[..<open.lowerBound] + value
      rest = rest[close.upperBound...]
    }
    return result + rest
  }
}
