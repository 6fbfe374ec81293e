// Nodes that a file has in training mode. Graft reads them as in inference, and says so once.

import GraftDiagnostics
import GraftIR
import GraftOps

struct TrainingModes {
  /// The nodes, by ONNX operator.
  private var counts: [String: Int] = [:]

  mutating func add(_ opType: String) { counts[opType, default: 0] += 1 }

  /// Makes what normalizes activations by the batch's own statistics normalize them by the stored ones.
  /// - Returns: a warning if anything was in training mode.
  mutating func read(_ graph: inout Graph) throws -> [Warning] {
    for node in graph.nodes {
      guard let operation = try Catalog.operation(of: node) as? any TrainingModeOperator,
        let inference = operation.inInference, let old = node.results.first
      else { continue }
      let name = graph[old].name
      graph[old].name = nil
      let new = try graph.append(
        inference, node.operands, names: [name], origins: node.origins, before: node.id)[0]
      graph.replaceUses(of: old, with: new)
      graph.remove(node.id)
      add("BatchNormalization")
    }
    guard !counts.isEmpty else { return [] }
    let list = counts.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }
    return [
      Warning("nodes in training mode are read as in inference: \(list.joined(separator: ", "))")
    ]
  }
}
