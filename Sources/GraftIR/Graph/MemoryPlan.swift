// Where every value of a scheduled graph lives while it runs. Planning computes it, code generation
// reads it, `graft dump --stage memory` shows it; it is a plain value without policy.

/// The place of one value.
public struct Placement: Hashable, Sendable {
  /// Bytes from the start of its region. In the batch region the real offset is this times N.
  public var offset: Int
  /// Bytes that the value takes there (for one unit of N in the batch region), alignment included.
  public var byteCount: Int
  /// Whether the value grows with the batch, and so lives in the batch region.
  public var isPerBatch: Bool
  /// Steps, first to last, during which it must keep its contents.
  public var lifetime: ClosedRange<Int>

  public init(offset: Int, byteCount: Int, isPerBatch: Bool, lifetime: ClosedRange<Int>) {
    self.offset = offset
    self.byteCount = byteCount
    self.isPerBatch = isPerBatch
    self.lifetime = lifetime
  }
}

/// A place for every value that nodes make, except those that are another value's memory.
///
/// How code generation finds the memory of a value: follow ``aliases`` to the root. A root is
/// - a graph input or a parameter: read where the caller, or the packed weights, have it;
/// - a graph output that a node makes: the caller's buffer of that output (the first one, where two
///   outputs are one value). It is in plain layout, later nodes may read it, and nothing else is ever
///   written there. A value whose root is an output is written straight into it;
/// - anything else: a place in the arena, in ``placements`` under the root.
///
/// A node whose operator is a view, or a `convert_layout`, and whose result and first operand have the
/// same root does no work: their bytes are the same. Where their roots differ (a view of an input that
/// is an output, say) the node copies. Any other node whose result has the root of an operand computes
/// in place. At the end an output that is an input, a parameter, or a second name of another output's
/// value is copied into the caller's buffer.
public struct MemoryPlan: Hashable, Sendable {
  public var placements: [ValueID: Placement]
  /// Values that share another value's memory whole: in-place results and free reshapes.
  public var aliases: [ValueID: ValueID]
  /// Bytes of the batch region for one unit of N.
  public var arenaBytesPerBatch: Int
  /// Bytes of the region whose values do not depend on the batch.
  public var fixedBytes: Int
  /// The greatest sum of bytes that are live at once, at batch size 1: no plan can need less.
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
