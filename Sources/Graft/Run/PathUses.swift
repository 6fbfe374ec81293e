// The paths that a command reads and writes, for modules that import only Graft.

import GraftData

/// The paths that a command reads and writes.
public typealias PathUses = GraftData.PathUses

/// The lock on the output of a long-running command.
public typealias PathLock = GraftData.PathLock
