// Display of untrusted text from files (names of nodes, tensors, paths): control characters and bidirectional
// overrides are escaped, very long names shortened in the middle.

import Foundation

extension String {
  /// The longest name shown whole, in characters.
  static let longestShown = 120

  /// The text with all characters escaped that could move a terminal's cursor or start a line.
  public var escapedForDisplay: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      default:
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate,
          .unassigned:
          result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
      }
    }
    return result.shortenedForDisplay
  }

  /// ``escapedForDisplay`` between double quotes, with quotes and backslashes escaped too.
  public var quotedForDisplay: String {
    let inner = self.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
    return "\"\(inner.escapedForDisplay)\""
  }

  private var shortenedForDisplay: String {
    guard count > Self.longestShown else { return self }
    let kept = Self.longestShown / 2
    return "\(prefix(kept))…\(suffix(kept - 1)) (\(count) characters)"
  }
}

extension Int {
  /// A formatted number of bytes: `12.3 MB`.
  public var asBytes: String {
    switch self {
    case ..<1_000: "\(self) B"
    case ..<1_000_000: String(format: "%.1f kB", Double(self) / 1e3)
    case ..<1_000_000_000: String(format: "%.1f MB", Double(self) / 1e6)
    default: String(format: "%.2f GB", Double(self) / 1e9)
    }
  }
}
