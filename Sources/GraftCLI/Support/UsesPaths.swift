// Every command says what it reads and writes; GraftCommand checks it before the command runs.

import Foundation
import Graft
import GraftDiagnostics

/// A command that reads or writes files. docs/files.md has the same lists as a table.
protocol UsesPaths {
  func pathUses() throws -> PathUses
}

extension PathUses {
  /// Adds a file of text. No file that holds anything else is replaced: a shell that expands `--csv *.jpg` makes
  /// a photograph the output.
  mutating func writeText(_ name: String, _ path: String?) throws {
    write(name, path, .file)
    guard let path, let file = FileHandle(forReadingAtPath: path) else { return }
    defer { try? file.close() }
    guard let start = try? file.read(upToCount: 4096), start.contains(0) else { return }
    throw GraftError(
      .invalidArgument, "is in the way and is no text, which \(name) writes",
      at: SourceLocation(file: path),
      advice: "Give \(name) a file of its own, before names that the shell makes of a pattern.")
  }
}
