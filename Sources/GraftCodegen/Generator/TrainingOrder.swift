// The order in which a program with state runs, and the rule that makes writing state in place sound: a
// node that writes a state is the last to read what was there before, and reads it where it writes.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The nodes of a program as they run.
struct TrainingOrder {
  var nodes: [Node]
  /// The first node of the optimizer's update, which micro-batches that others follow leave out.
  var updateBegin: Int?
}

extension Lowering {
  /// The graph's own order, but that running statistics and accumulated gradients come before the
  /// update: every micro-batch runs them.
  /// - Throws: ``GraftError`` of kind `inconsistency` where another node comes after the update's first.
  func trainingOrder() throws -> TrainingOrder {
    let nodes = graph.nodes
    let operations = try nodes.map { try Catalogue.operation(of: $0) }
    guard places.hasStates, let begin = operations.firstIndex(where: Self.belongsToUpdate) else {
      return TrainingOrder(nodes: nodes, updateBegin: nil)
    }
    var before = Array(nodes[..<begin])
    var update: [Node] = []
    for (node, operation) in zip(nodes[begin...], operations[begin...]) {
      if Self.belongsToUpdate(operation) {
        update.append(node)
      } else if operation is MovingAverage || operation is Accumulate,
        node.results.allSatisfy({ isStateContents($0) })
      {
        before.append(node)
      } else {
        throw GraftError(
          .inconsistency, "the node comes after the optimizer's update has begun",
          at: SourceLocation(operatorName: node.opcode.rawValue, irLine: graph.line(of: node)))
      }
    }
    return TrainingOrder(nodes: before + update, updateBegin: before.count)
  }

  private static func belongsToUpdate(_ operation: any Operator) -> Bool {
    operation is SGDUpdate || operation is AdamUpdate || operation is SquareSum
      || operation is ClipFactor
  }

  private func isStateContents(_ value: ValueID) -> Bool {
    if case .state? = try? places.place(of: value) { true } else { false }
  }

  /// Checks the rule above for every output that is the new contents of a state.
  /// - Throws: ``GraftError`` of kind `inconsistency` naming the state.
  func checkStates(_ order: TrainingOrder) throws {
    var written: [ValueID: String] = [:]
    for output in graph.outputs where places.isStateName(output.name) {
      func fail(_ reason: String) -> GraftError {
        GraftError(.inconsistency, "state \(output.name.quotedForDisplay): \(reason)")
      }
      guard let state = graph.parameter(named: output.name) else {
        throw fail("its new contents have no old ones")
      }
      if output.value == state { continue }
      guard written.updateValue(output.name, forKey: output.value) == nil else {
        throw fail("its new contents are another state's too")
      }
      guard let writer = graph.producer(of: output.value),
        let position = order.nodes.firstIndex(where: { $0.id == writer.id }),
        type(output.value).shape == type(state).shape, type(output.value).layout.isPlain,
        places.root(of: output.value) == output.value
      else { throw fail("no node writes it in place") }
      let operation = try Catalogue.operation(of: writer)
      guard operation is any StateUpdate || operation is Accumulate else {
        throw fail("\(writer.opcode) does not write where it reads")
      }
      for (index, node) in order.nodes.enumerated() where index != position {
        let reads = node.presentOperands.contains { places.root(of: $0) == state }
        guard !reads || index < position else {
          throw fail("\(graph.line(of: node)) reads it after it was written")
        }
        let writes = node.results.contains { places.root(of: $0) == output.value }
        guard !writes || index > position else {
          throw fail("\(graph.line(of: node)) writes it too early")
        }
      }
    }
  }
}
