// What the project's own documents list, for tests that hold it against the code.

import Foundation

/// The project's folder.
public let projectRoot = URL(filePath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent()

/// The labels, such as S1, of the invariants in docs/ir.md that begin with `letter`.
public func documentedInvariants(_ letter: String) throws -> Set<String> {
  let text = try String(contentsOf: projectRoot.appending(path: "docs/ir.md"), encoding: .utf8)
  let rows = text.split(separator: "\n").filter { $0.hasPrefix("| \(letter)") }
  return Set(
    rows.compactMap {
      $0.split(separator: "|").first.map { $0.trimmingCharacters(in: .whitespaces) }
    })
}
