// Updates parameters as early as possible, so that gradients need not be kept until the end of a training step.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Graph {
  /// Moves each node of the optimizer to just after the last node that it depends on, or that reads the contents which
  /// it overwrites, wherever it was before. Not in a graph that accumulates gradients, whose update must be the end of
  /// a step, because micro-batches leave it out.
  /// - Throws: ``GraftError`` as ``Catalog/operation(of:)``.
  public mutating func updateEarly() throws {
    guard !accumulatesGradients else { return }
    var kept: [Node] = []
    var updates: [Node] = []
    for node in nodes {
      if try Catalog.operation(of: node) is any OptimizerUpdate {
        updates.append(node)
      } else {
        kept.append(node)
      }
    }
    // The last step that reads each memory, and the step that makes each value.
    var (lastRead, made) = ([ValueID: Int](), [ValueID: Int]())
    var owner: [ValueID: ValueID] = [:]
    for (step, node) in kept.enumerated() {
      for operand in node.presentOperands { lastRead[owner[operand] ?? operand] = step }
      for result in node.results { made[result] = step }
      if let source = node.operand(0), try isFreeView(node, Catalog.operation(of: node)) {
        owner[node.results[0]] = owner[source] ?? source
      }
    }
    var after: [Int: [NodeID]] = [:]
    for update in updates {
      let steps = update.presentOperands.compactMap { made[$0] ?? lastRead[$0] }
      after[steps.max() ?? 0, default: []].append(update.id)
    }
    try reorder(kept.enumerated().flatMap { [$1.id] + (after[$0] ?? []) })
  }
}
