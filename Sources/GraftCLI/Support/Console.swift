// Output of commands: results to standard output, everything else to standard error.

import Foundation
import Graft
import GraftDiagnostics

/// Where commands print.
enum Console {
  /// Writes a result, with a line break, to standard output.
  /// - Throws: ``GraftError`` if standard output cannot be written (full disk, closed pipe).
  static func result(_ text: String) throws { try raw(text + "\n") }

  /// Writes a result without adding a line break.
  static func raw(_ text: String) throws {
    try ProcessGuard.checkMappedFiles()
    let code = write(text, to: STDOUT_FILENO)
    guard code == 0 else {
      throw GraftError(
        .inputOutput, "standard output cannot be written: \(String(cString: strerror(code)))")
    }
  }

  /// Writes a message to standard error.
  static func note(_ text: String) {
    ProgressLine.clear()
    tell(text + "\n")
  }

  static func warn(_ warnings: [Warning]) {
    for warning in warnings {
      var text = "warning: "
      if let file = warning.location.file { text += "\(file.escapedForDisplay): " }
      if let node = warning.location.node { text += "node \(node.quotedForDisplay): " }
      note(text + warning.message)
    }
  }

  /// Errors of writing to standard error are ignored.
  fileprivate static func tell(_ text: String) { _ = write(text, to: STDERR_FILENO) }

  /// - Returns: 0, or the errno.
  private static func write(_ text: String, to descriptor: Int32) -> Int32 {
    var text = text
    return text.withUTF8 { bytes in
      var done = 0
      while done < bytes.count {
        let count = Foundation.write(
          descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
        if count > 0 { done += count } else if errno != EINTR { return errno }
      }
      return 0
    }
  }

  /// Prints a value as one JSON object with sorted keys.
  static func json(_ value: some Encodable) throws { try result(text(value)) }

  private static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  /// One JSON object with a single list, whose entries are printed incrementally.
  final class JSONList {
    private var isEmpty = true

    init(named name: String) throws { try raw("{\n  \"\(name)\" : [") }

    func append(_ value: some Encodable) throws {
      let lines = try text(value).split(separator: "\n").map { "    " + $0 }
      try raw((isEmpty ? "\n" : ",\n") + lines.joined(separator: "\n"))
      isEmpty = false
    }

    func finish() throws { try result(isEmpty ? "]\n}" : "\n  ]\n}") }
  }
}

/// A progress line on standard error that is overwritten in place; only if that is a terminal.
enum ProgressLine {
  private static let isTerminal = isatty(STDERR_FILENO) == 1
  nonisolated(unsafe) private static var isShown = false
  nonisolated(unsafe) private static var lastFrequent: ContinuousClock.Instant?

  /// Replaces the line by `text`, truncated to the width of the terminal. Call from one thread only.
  /// - Parameter isFrequent: whether the line may be skipped because another follows soon; at most 20 per
  ///   second are shown.
  static func show(_ text: String, isFrequent: Bool = false) {
    guard isTerminal else { return }
    if isFrequent {
      let now = ContinuousClock.now
      if let lastFrequent, now - lastFrequent < .milliseconds(50) { return }
      lastFrequent = now
    }
    var window = winsize()
    let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &window) == 0 && window.ws_col > 1
    let text = isKnown ? String(text.prefix(Int(window.ws_col) - 1)) : text
    Console.tell("\r\u{1b}[2K\(text)")
    isShown = true
  }

  static func clear() {
    guard isShown else { return }
    Console.tell("\r\u{1b}[2K")
    isShown = false
  }
}

extension Double {
  /// The number with `digits` decimal places.
  func formatted(digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
