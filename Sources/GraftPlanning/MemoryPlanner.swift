// Plans the memory of a scheduled graph: liveness, one placement of the buffers that grow with the batch and
// one of the others, then verification.

import GraftDiagnostics
import GraftIR

extension MemoryPlan {
  /// Bytes to which offsets and sizes are rounded: a cache line, and the widest vector.
  public static let defaultAlignment = 64

  /// Plans the memory of a scheduled graph.
  ///
  /// In the batch region all offsets and sizes are for N = 1 and are multiplied by N at run time, so buffers
  /// that do not overlap at batch size 1 do not overlap at any batch size.
  /// - Throws: ``GraftError`` if a node is unknown, a value too large, or an output is not in plain
  ///   layout.
  public init(planning graph: Graph, alignment: Int = MemoryPlan.defaultAlignment) throws {
    let liveness = try Liveness(graph)
    self.init(lowerBoundBytes: liveness.greatestLiveBytes, alignment: alignment)
    for group in liveness.groups {
      for member in group.members where member != group.root { aliases[member] = group.root }
    }
    let arena = liveness.groups.filter { $0.home == .arena }
    arenaBytesPerBatch = place(arena.filter(\.byteCount.isBatch), isPerBatch: true)
    fixedBytes = place(arena.filter { !$0.byteCount.isBatch }, isPerBatch: false)
    try verify(for: graph)
  }

  private mutating func place(_ groups: [MemoryGroup], isPerBatch: Bool) -> Int {
    let requests = groups.map {
      BufferRequest(lifetime: $0.lifetime, byteCount: $0.byteCount.coefficient)
    }
    let plan = planMemory(requests, alignment: alignment)
    for (group, offset) in zip(groups, plan.offsets) {
      let size = (group.byteCount.coefficient + alignment - 1) / alignment * alignment
      placements[group.root] = Placement(
        offset: offset, byteCount: size, isPerBatch: isPerBatch, lifetime: group.lifetime)
    }
    return plan.byteCount
  }
}
