// Decomposes fused and older operators into current ONNX operators, as each operator defines
// (``Operator/decomposed(_:)``). Works on a copy of the graph; results differ only by rounding.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Rewrites a graph so that every node has an ONNX equivalent.
struct ExportLowering {
  private(set) var graph: Graph

  /// - Throws: ``GraftError`` that names a node whose attributes do not read.
  init(_ graph: Graph) throws {
    self.graph = graph
    var isChanging = true
    // What an operator becomes may have to become others.
    while isChanging {
      isChanging = false
      for id in self.graph.nodes.map(\.id) {
        // Read again, because its operands may have been replaced.
        let node = self.graph[id]
        if let value = try DecompositionBuilder.decompose(node, in: &self.graph) {
          replace(node, with: value)
          isChanging = true
        }
      }
    }
    self.graph.removeDeadCode()
  }

  private mutating func replace(_ node: Node, with value: ValueID) {
    guard let result = node.results.first else { return }
    let name = graph[result].name
    graph.replaceUses(of: result, with: value)
    graph.remove(node.id)
    graph[value].name = name
  }
}
