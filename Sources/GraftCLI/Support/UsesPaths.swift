// Every command declares the paths that it reads and writes; GraftCommand checks them before the command
// runs.

import Foundation
import Graft
import GraftDiagnostics

/// A command that reads or writes files. docs/files.md has the same lists as a table.
protocol UsesPaths {
  func pathUses() throws -> PathUses
}

extension PathUses {
  /// Adds a text file as an output. An existing binary file is not replaced: a shell that expands `--csv
  /// *.jpg` would make an image the output.
  mutating func writeText(_ name: String, _ path: String?) throws {
    write(name, path, .file)
    guard let path, let file = FileHandle(forReadingAtPath: path) else { return }
    defer { try? file.close() }
    guard let start = try? file.read(upToCount: 4096), start.contains(0) else { return }
    throw GraftError(
      .invalidArgument, "exists and is not a text file, which \(name) writes",
      at: SourceLocation(file: path),
      advice: "Give \(name) another file, before any names that the shell expands from a pattern.")
  }
}
