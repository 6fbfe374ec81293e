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
  /// The graph's own order. If it accumulates gradients, then running statistics and accumulated gradients come before
  /// the update: every micro-batch runs them.
  /// - Throws: ``GraftError`` of kind `inconsistency` if another node comes after the update's first.
  func trainingOrder() throws -> TrainingOrder {
    let nodes = graph.nodes
    let operations = try nodes.map { try Catalog.operation(of: $0) }
    guard places.hasStates, graph.accumulatesGradients,
      let begin = operations.firstIndex(where: { Self.stage(of: $0) == .everyUpdate })
    else {
      return TrainingOrder(nodes: nodes, updateBegin: nil)
    }
    var before = Array(nodes[..<begin])
    var update: [Node] = []
    for (node, operation) in zip(nodes[begin...], operations[begin...]) {
      if Self.stage(of: operation) == .everyUpdate {
        update.append(node)
      } else if Self.stage(of: operation) == .everyMicroBatch,
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

  private static func stage(of operation: any Operator) -> UpdateStage? {
    (operation as? any UpdateOperator).map { Swift.type(of: $0).updateStage }
  }

  private func isStateContents(_ value: ValueID) -> Bool {
    if case .state? = try? places.place(of: value) { true } else { false }
  }

  /// Checks the rule above for every output that is the new contents of a state.
  /// - Throws: ``GraftError`` of kind `inconsistency` naming the state.
  func checkStates(_ order: TrainingOrder) throws {
    var written: [ValueID: String] = [:]
    let accesses = accesses(of: order)
    let states = Dictionary(
      graph.parameters.map { (graph[$0].name, $0) }, uniquingKeysWith: { first, _ in first })
    for output in graph.outputs where places.isStateName(output.name) {
      func fail(_ reason: String) -> GraftError {
        GraftError(.inconsistency, "state \(output.name.quotedForDisplay): \(reason)")
      }
      guard let state = states[output.name] else {
        throw fail("its new value has no old value")
      }
      if output.value == state { continue }
      guard written.updateValue(output.name, forKey: output.value) == nil else {
        throw fail("its new value is also that of another state")
      }
      guard let writer = graph.producer(of: output.value),
        let position = accesses.positions[writer.id],
        type(output.value).shape == type(state).shape, type(output.value).layout.isPlain,
        places.root(of: output.value) == output.value
      else { throw fail("no node writes it in place") }
      let operation = try Catalog.operation(of: writer)
      guard operation is any StateUpdate else {
        throw fail("\(writer.opcode) does not write where it reads")
      }
      if let late = accesses.reads[state]?.first(where: { $0 > position }) {
        throw fail("\(graph.line(of: order.nodes[late])) reads it after it was written")
      }
      if let early = accesses.writes[output.value]?.first(where: { $0 < position }) {
        throw fail("\(graph.line(of: order.nodes[early])) writes it too early")
      }
    }
  }

  /// Where in an order each node stands, and where each memory, by its root, is read and written.
  private struct Accesses {
    var positions: [NodeID: Int] = [:]
    var reads: [ValueID: [Int]] = [:]
    var writes: [ValueID: [Int]] = [:]
  }

  private func accesses(of order: TrainingOrder) -> Accesses {
    var accesses = Accesses()
    for (index, node) in order.nodes.enumerated() {
      accesses.positions[node.id] = index
      for operand in node.presentOperands {
        accesses.reads[places.root(of: operand), default: []].append(index)
      }
      for result in node.results {
        accesses.writes[places.root(of: result), default: []].append(index)
      }
    }
    return accesses
  }
}
