// Graphs in attributes, such as the branches of an If, read values of the graphs around them by name. A node with such
// graphs gets these names as further inputs, so that unused nodes, order and missing values are found as for others.

import GraftDiagnostics

extension FileGraph {
  /// Adds to each node with graphs the names that these read from outside, in all depths.
  mutating func captureNames() { nodes.captureNames() }

  /// The names that a graph defines.
  func definedNames() -> NameTable<Bool> {
    var names = NameTable<Bool>()
    for input in inputs { names[input.name] = true }
    for tensor in initializers { names[tensor.name] = true }
    for node in nodes { for output in node.outputs { names[output] = true } }
    return names
  }

  /// The names that a graph reads but does not define, each once.
  fileprivate var freeNames: [String] {
    var seen = definedNames()
    var free: [String] = []
    for name in nodes.flatMap(\.inputs) + outputs.map(\.name)
    where !name.isEmpty && !seen.contains(name) {
      seen[name] = true
      free.append(name)
    }
    return free
  }

  /// The same graph that reads the values around it by other names.
  func renamingCaptures(_ rename: (String) -> String) -> FileGraph {
    let own = definedNames()
    func renamed(_ name: String) -> String {
      name.isEmpty || own.contains(name) ? name : rename(name)
    }
    var graph = self
    for index in graph.nodes.indices {
      graph.nodes[index].inputs = graph.nodes[index].inputs.map(renamed)
      graph.nodes[index].renameCaptures(renamed)
    }
    for index in graph.outputs.indices {
      graph.outputs[index].name = renamed(graph.outputs[index].name)
    }
    return graph
  }
}

extension FileNode {
  /// Renames what the node's graphs read from outside.
  mutating func renameCaptures(_ rename: (String) -> String) {
    for index in attributes.indices {
      guard case .graphs(let graphs) = attributes[index].value else { continue }
      attributes[index].value = .graphs(graphs.map { $0.renamingCaptures(rename) })
    }
  }
}

extension [FileNode] {
  mutating func captureNames() {
    for index in indices {
      for attribute in self[index].attributes.indices {
        guard case .graphs(var graphs) = self[index].attributes[attribute].value else { continue }
        for graph in graphs.indices {
          graphs[graph].captureNames()
          let known = self[index].inputs
          self[index].inputs += graphs[graph].freeNames.filter { !known.contains($0) }
        }
        self[index].attributes[attribute].value = .graphs(graphs)
      }
    }
  }
}
