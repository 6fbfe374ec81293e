// What a command reads and writes, for whoever imports Graft alone.

import GraftData

/// What a command reads and writes.
public typealias PathUses = GraftData.PathUses
