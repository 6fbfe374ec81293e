// Removes nodes that no output depends on, and sorts the others topologically. ONNX requires sorted nodes,
// but tools that edit files often append nodes out of order and leave unused ones.

import GraftDiagnostics

extension FileGraph {
  /// Whether an output of the graph depends on each node.
  func readNodes() -> [Bool] {
    var makers = NameTable<[Int]>()
    for (place, node) in nodes.enumerated() {
      for output in node.outputs where !output.isEmpty {
        makers[output, default: []].append(place)
      }
    }
    var isRead = Array(repeating: false, count: nodes.count)
    var open = outputs.flatMap { makers[$0.name] ?? [] }
    while let place = open.popLast() {
      guard !isRead[place] else { continue }
      isRead[place] = true
      for input in nodes[place].inputs where !input.isEmpty { open += makers[input] ?? [] }
    }
    return isRead
  }

  /// Removes the nodes that no output depends on.
  mutating func removeUnreadNodes() {
    nodes = zip(nodes, readNodes()).filter(\.1).map(\.0)
  }

  /// Sorts the nodes topologically; nodes that are already in order keep it.
  /// - Throws: ``GraftError`` of kind `invalidModel` naming the nodes of a cycle.
  mutating func sortNodes() throws {
    var makers = NameTable<Int>()
    for (place, node) in nodes.enumerated() {
      for output in node.outputs where !output.isEmpty { makers[output] = place }
    }
    let sources = nodes.map { $0.inputs.compactMap { makers[$0] } }
    var order: [Int] = []
    order.reserveCapacity(nodes.count)
    var state = Array(repeating: NodeState.new, count: nodes.count)
    for start in nodes.indices where state[start] == .new {
      // Depth first, without recursion: the path may be as long as the graph.
      var path = [(node: start, next: 0)]
      state[start] = .open
      while let (node, next) = path.last {
        guard next < sources[node].count else {
          state[node] = .done
          order.append(node)
          path.removeLast()
          continue
        }
        path[path.count - 1].next += 1
        let source = sources[node][next]
        switch state[source] {
        case .done: continue
        case .new:
          state[source] = .open
          path.append((source, 0))
        case .open:
          let cycle = path.map(\.node).drop { $0 != source }
          throw cycleError(Array(cycle.reversed()))
        }
      }
    }
    if order != Array(nodes.indices) { nodes = order.map { nodes[$0] } }
  }

  private enum NodeState {
    case new
    case open
    case done
  }

  /// - Parameter cycle: each node feeds the next, and the last the first.
  private func cycleError(_ cycle: [Int]) -> GraftError {
    // Starts at its first node in the file; long cycles are shortened.
    let first = cycle.firstIndex(of: cycle.min() ?? 0) ?? 0
    let path = Array(cycle[first...] + cycle[..<first])
    var names = path.prefix(12).map { nodes[$0].displayName.quotedForDisplay }
    if path.count > 12 { names.append("… (\(path.count - 12) more)") }
    names += path.prefix(1).map { nodes[$0].displayName.quotedForDisplay }
    let node = nodes[path[0]]
    return GraftError(
      .invalidModel, "the graph has a cycle: " + names.joined(separator: " → "),
      at: SourceLocation(node: node.displayName, operatorName: node.qualifiedType))
  }
}
