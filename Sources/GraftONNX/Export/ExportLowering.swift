// What passes fuse, and what older operator sets had, as several operators that ONNX has: what becomes what
// is each operator's to say (``Operator/decomposed(_:)``). Works on a copy of the graph; the numbers stay the
// same but for rounding.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Rewrites a graph so that every node has an ONNX form of its own.
struct ExportLowering {
  private(set) var graph: Graph

  /// - Throws: ``GraftError`` that names a node whose attributes do not read.
  init(_ graph: Graph) throws {
    self.graph = graph
    for id in graph.nodes.map(\.id) {
      // Read anew: what it reads may have been replaced by now.
      let node = self.graph[id]
      if let value = try DecompositionBuilder.decompose(node, in: &self.graph) {
        replace(node, with: value)
      }
    }
  }

  private mutating func replace(_ node: Node, with value: ValueID) {
    guard let result = node.results.first else { return }
    let name = graph[result].name
    graph.replaceUses(of: result, with: value)
    graph.remove(node.id)
    graph[value].name = name
  }
}
