// Updates parameters as early as possible, so that gradients need not be kept until the end of a training step.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Graph {
  /// Moves each node of the optimizer to just after the last node that it depends on, or that reads the contents which
  /// it overwrites, wherever it was before. Not in a graph that accumulates gradients, whose update must be the end of a step, because
  /// micro-batches leave it out.
  /// - Throws: ``GraftError`` as ``Catalog/operation(of:)``.
  public mutating func updateEarly() throws {
    guard !accumulatesGradients else { return }
    let order = nodes
    var (made, lastRead) = ([ValueID: Int](), [ValueID: Int]())
    var owner: [ValueID: ValueID] = [:]
    var after: [Int: [NodeID]] = [:]
    var moved = Set<NodeID>()
    for (step, node) in order.enumerated() {
      for result in node.results { made[result] = step }
      guard try !(Catalog.operation(of: node) is any OptimizerUpdate) else { continue }
      for operand in node.presentOperands { lastRead[owner[operand] ?? operand] = step }
      if let source = node.operand(0), try mayBeView(node) {
        owner[node.results[0]] = owner[source] ?? source
      }
    }
    for (step, node) in order.enumerated()
    where try Catalog.operation(of: node) is any OptimizerUpdate {
      let steps = node.presentOperands.flatMap { [made[$0], lastRead[$0]] }.compactMap(\.self)
      // A gradient may be read by other nodes too, but they do not change it.
      guard let last = steps.max(), last != step - 1 else { continue }
      after[last, default: []].append(node.id)
      moved.insert(node.id)
    }
    try reorder(
      order.enumerated().flatMap { step, node in
        (moved.contains(node.id) ? [] : [node.id]) + (after[step] ?? [])
      })
  }

  /// Whether a node's result may be in the memory of its first operand.
  private func mayBeView(_ node: Node) throws -> Bool {
    let operation = try Catalog.operation(of: node)
    return operation.isView
      || operation.layoutSupport(
        operands: operandTypes(of: node), results: resultTypes(of: node)) == .conversion
  }
}
