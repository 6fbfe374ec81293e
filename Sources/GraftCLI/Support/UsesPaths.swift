// Every command says what it reads and writes; GraftCommand checks it before the command runs.

import Graft

/// A command that reads or writes files. docs/files.md has the same lists as a table.
protocol UsesPaths {
  func pathUses() throws -> PathUses
}
