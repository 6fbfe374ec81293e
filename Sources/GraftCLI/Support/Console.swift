// Standard output and standard error: results on the one, everything for the person watching on the
// other.

import Foundation
import Graft
import GraftDiagnostics

/// Where commands print.
enum Console {
  /// Writes a result, with a line break, to standard output.
  /// - Throws: ``GraftError`` where standard output cannot take it (a full disk, a closed pipe).
  static func result(_ text: String) throws { try raw(text + "\n") }

  /// Writes a result as it is, without a line break.
  static func raw(_ text: String) throws {
    try ProcessGuard.checkMappedFiles()
    let code = write(text, to: STDOUT_FILENO)
    guard code == 0 else {
      throw GraftError(
        .inputOutput, "standard output cannot be written: \(String(cString: strerror(code)))")
    }
  }

  /// Tells the person something, on standard error.
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

  /// Where standard error cannot be written there is nobody to tell, and the work goes on.
  fileprivate static func tell(_ text: String) { _ = write(text, to: STDERR_FILENO) }

  /// - Returns: 0, or the number of the error.
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

  /// A value as one JSON object with sorted keys.
  static func json(_ value: some Encodable) throws { try result(text(value)) }

  private static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  /// One JSON object that holds a single list, whose entries are printed as they come.
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

/// One line on standard error that is written over again and again, only where that is a terminal.
enum ProgressLine {
  private static let isTerminal = isatty(STDERR_FILENO) == 1
  nonisolated(unsafe) private static var isShown = false
  nonisolated(unsafe) private static var lastFrequent: ContinuousClock.Instant?

  /// Shows `text` in place of the line before, cut at the terminal's edge. Call from one thread.
  /// - Parameter isFrequent: another follows soon, so that it may be left out: at most twenty a second
  ///   are shown.
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
  /// The number with `digits` decimals.
  func formatted(digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
