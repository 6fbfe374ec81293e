// The memory plan of a scheduled graph: the location of every value. GraftPlanning computes it, code
// generation uses it, `graft dump --stage memory` shows it.

/// The placement of one value.
public struct Placement: Hashable, Sendable {
  /// The offset in its region in bytes; in the batch region it is multiplied by N.
  public var offset: Int
  /// The size in bytes including alignment (for N = 1 in the batch region).
  public var byteCount: Int
  /// Whether the value grows with the batch, and so is in the batch region.
  public var isPerBatch: Bool
  /// The steps, first to last, during which it is live.
  public var lifetime: ClosedRange<Int>

  public init(offset: Int, byteCount: Int, isPerBatch: Bool, lifetime: ClosedRange<Int>) {
    self.offset = offset
    self.byteCount = byteCount
    self.isPerBatch = isPerBatch
    self.lifetime = lifetime
  }
}

/// The placements of all node results, except those that share another value's memory.
///
/// How code generation finds the memory of a value: follow ``aliases`` to the root. A root is
/// - a graph input or a parameter: read in place from the caller's buffer or the packed weights;
/// - a graph output that a node computes: the caller's buffer of that output (the first one, if two outputs
///   are the same value). It is in plain layout, later nodes may read it, and nothing else is written there.
///   A value whose root is an output is written directly to it;
/// - anything else: a placement in the arena, in ``placements`` under the root.
///
/// A node whose operator is a view, or a `convert_layout`, and whose result and first operand have the
/// same root does no work: their bytes are the same. Where their roots differ (a view of an input that
/// is an output, say) the node copies. Any other node whose result has the root of an operand computes
/// in place. At the end an output that is an input, a parameter, or a second name of another output's
/// value is copied into the caller's buffer.
public struct MemoryPlan: Hashable, Sendable {
  public var placements: [ValueID: Placement]
  /// Values that share another value's entire memory: in-place results and views.
  public var aliases: [ValueID: ValueID]
  /// Bytes of the batch region for one unit of N.
  public var arenaBytesPerBatch: Int
  /// Bytes of the region whose values do not depend on the batch.
  public var fixedBytes: Int
  /// The maximum number of live bytes at batch size 1, a lower bound for any plan.
  public var lowerBoundBytes: Int
  /// Every offset and size is a multiple of this.
  public var alignment: Int

  public init(
    placements: [ValueID: Placement] = [:], aliases: [ValueID: ValueID] = [:],
    arenaBytesPerBatch: Int = 0, fixedBytes: Int = 0, lowerBoundBytes: Int = 0, alignment: Int = 64
  ) {
    self.placements = placements
    self.aliases = aliases
    self.arenaBytesPerBatch = arenaBytesPerBatch
    self.fixedBytes = fixedBytes
    self.lowerBoundBytes = lowerBoundBytes
    self.alignment = alignment
  }

  /// Bytes of the whole arena for a batch of one.
  public var arenaBytes: Int { arenaBytesPerBatch + fixedBytes }

  /// The placement of `value` after following aliases.
  public func placement(of value: ValueID) -> Placement? {
    var root = value
    while let next = aliases[root] { root = next }
    return placements[root]
  }
}
