// Verification of a memory plan from the graph. It shares no code with the planner, so that it finds the
// planner's bugs.

import GraftDiagnostics
import GraftIR
import GraftOps

extension MemoryPlan {
  /// Checks the plan against its graph by tracking the contents of every byte range in execution order.
  ///
  /// - M1: every node result has a placement, or shares the memory of an input, a parameter or an output;
  ///   aliases refer to existing values and have no cycles.
  /// - M2: a placement is inside its region, is aligned and is large enough for the value's layout.
  /// - M3: when a node reads a value, nothing has been written over it since it was made.
  /// - M4: an output still holds its value at the end, and no input or parameter is written.
  /// - Throws: ``GraftError`` of kind `inconsistency` citing the invariant.
  public func verify(for graph: Graph) throws {
    // The current contents of each piece of memory: placements, and buffers of the caller.
    var holder: [ValueID: ValueID] = [:]
    for value in graph.inputs + graph.parameters { holder[try root(of: value, in: graph)] = value }
    let outputs = Set(graph.outputs.map(\.value))
    for node in graph.nodes {
      let operation = try Catalog.operation(of: node)
      for operand in node.presentOperands {
        try check(operand, isHeldIn: holder, graph, node)
      }
      for (index, result) in node.results.enumerated() {
        let place = try root(of: result, in: graph)
        if index == 0, let source = node.operand(0),
          aliases[result] != nil || aliases[source] != nil,
          try root(of: source, in: graph) == place, isMoveless(node, operation, in: graph)
        {
          // A view writes nothing, so the memory contains both values.
          continue
        }
        if graph[place].parameter != nil || graph[place].definition == .input {
          throw failure(graph, result, "overwrites memory that the network does not own [M4]")
        }
        try overwrite(place, with: result, by: node, operation, holder: &holder, graph)
      }
    }
    for output in outputs { try check(output, isHeldIn: holder, graph, nil) }
  }

  /// Resolves views to the value that owns the bytes.
  private func written(_ value: ValueID, _ graph: Graph) throws -> ValueID {
    var value = value
    while let node = graph.producer(of: value), let source = node.operand(0),
      node.results.first == value, try root(of: source, in: graph) == root(of: value, in: graph),
      isMoveless(node, try Catalog.operation(of: node), in: graph)
    { value = source }
    return value
  }

  private func isMoveless(_ node: Node, _ operation: any Operator, in graph: Graph) -> Bool {
    guard let source = node.operand(0), let result = node.results.first else { return false }
    let (old, new) = (graph.type(of: source), graph.type(of: result))
    if operation.isView { return old.layout.isPlain && new.layout.isPlain }
    let support = operation.layoutSupport(operands: [old], results: [new])
    return support == .conversion && old.isSameMemory(as: new)
  }

  private func check(
    _ value: ValueID, isHeldIn holder: [ValueID: ValueID], _ graph: Graph, _ reader: Node?
  ) throws {
    let place = try root(of: value, in: graph)
    guard holder[place] == (try written(value, graph)) else {
      let what = reader.map { "before \(graph.line(of: $0)) reads it" } ?? "before the end"
      throw failure(graph, value, "is overwritten \(what) [M3]")
    }
  }

  private func overwrite(
    _ place: ValueID, with result: ValueID, by node: Node, _ operation: any Operator,
    holder: inout [ValueID: ValueID], _ graph: Graph
  ) throws {
    guard let bytes = graph.type(of: result).storedByteCount else {
      throw failure(graph, result, "is too large [M2]")
    }
    for (position, operand) in node.operands.enumerated() {
      guard let operand else { continue }
      let other = try root(of: operand, in: graph)
      guard overlaps(place, other) else { continue }
      let isInPlace =
        other == place && operation.overwritableOperands.contains(position)
        && graph.type(of: operand) == graph.type(of: result) && node.results.first == result
      guard isInPlace else {
        throw failure(graph, result, "overwrites an operand of its node [M3]")
      }
    }
    for other in node.results where other != result {
      guard !overlaps(place, try root(of: other, in: graph)) else {
        throw failure(graph, result, "overlaps another result of its node [M3]")
      }
    }
    if let placement = placements[place] {
      let region = placement.isPerBatch ? arenaBytesPerBatch : fixedBytes
      guard placement.isPerBatch == bytes.isBatch, placement.byteCount >= bytes.coefficient,
        placement.offset >= 0, placement.offset + placement.byteCount <= region,
        placement.offset.isMultiple(of: max(1, alignment))
      else { throw failure(graph, result, "does not fit its placement \(placement) [M2]") }
    }
    for other in holder.keys where other != place && overlaps(place, other) { holder[other] = nil }
    holder[place] = result
  }

  private func overlaps(_ one: ValueID, _ other: ValueID) -> Bool {
    if one == other { return true }
    guard let a = placements[one], let b = placements[other], a.isPerBatch == b.isPerBatch else {
      return false
    }
    return a.offset < b.offset + b.byteCount && b.offset < a.offset + a.byteCount
  }

  /// The value that owns the memory of `value`.
  private func root(of value: ValueID, in graph: Graph) throws -> ValueID {
    var root = value
    var steps = 0
    while let next = aliases[root] {
      root = next
      steps += 1
      guard steps <= aliases.count, graph.contains(root) else {
        throw failure(graph, value, "has an alias without a placement [M1]")
      }
    }
    let lies =
      placements[root] != nil || graph.isOutput(root) || graph[root].parameter != nil
      || graph[root].definition == .input
    guard lies else { throw failure(graph, value, "has no placement [M1]") }
    return root
  }

  private func failure(_ graph: Graph, _ value: ValueID, _ message: String) -> GraftError {
    let producer = graph.producer(of: value)
    return GraftError(
      .inconsistency, "memory plan: the value \(message)",
      at: SourceLocation(
        node: producer?.origins.first ?? graph[value].name, irLine: producer.map(graph.line(of:))))
  }
}
