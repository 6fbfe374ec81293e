// The execution order: several orders are tried, and the one with the lowest peak of live bytes is chosen;
// the file's order if none is better.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The result of scheduling, for the log.
public struct ScheduleReport: Hashable, Sendable {
  /// `file`, `depth-first` or `greedy`.
  public var order: String
  /// The maximum number of live bytes of the file's order and of the chosen one, at batch size 1.
  public var bytesBefore: Int
  public var bytesAfter: Int
}

extension Graph {
  /// Reorders the nodes to the tried order with the lowest peak of live bytes.
  ///
  /// Minimizing the peak over all orders is NP-complete (Sethi 1975), hence a choice among heuristics: depth
  /// first from the outputs with the subtree that needs most memory first (Sethi and Ullman 1970), and list
  /// scheduling that always takes the ready node after which the fewest bytes are live. In case of a tie the
  /// file's order is kept, which is familiar to the user and usually good for the cache.
  /// - Throws: ``GraftError`` as ``MemoryPlan`` planning does.
  @discardableResult
  public mutating func scheduleForMemory() throws -> ScheduleReport {
    let before = try Liveness(self).greatestLiveBytes
    var report = ScheduleReport(order: "file", bytesBefore: before, bytesAfter: before)
    let dependencies = Dependencies(self)
    var best = self
    for (name, order) in [
      ("depth-first", dependencies.depthFirstOrder()), ("greedy", dependencies.greedyOrder()),
    ] {
      var candidate = self
      try candidate.reorder(order)
      let bytes = try Liveness(candidate).greatestLiveBytes
      if bytes < report.bytesAfter {
        best = candidate
        report.order = name
        report.bytesAfter = bytes
      }
    }
    self = best
    return report
  }
}

/// The nodes of a graph as indices, with their dependencies and sizes.
private struct Dependencies {
  private let ids: [NodeID]
  /// For each node the nodes whose results it reads, each once, in the order of its operands.
  private var producers: [[Int]] = []
  /// For each node the nodes that read its results, each once.
  private var readers: [[Int]] = []
  /// Bytes of the results of each node at batch size 1.
  private var bytes: [Int] = []
  /// Nodes whose result is an output of the graph, in the caller's memory.
  private var makesOutput: [Bool] = []

  init(_ graph: Graph) {
    let nodes = graph.nodes
    ids = nodes.map(\.id)
    let position = Dictionary(
      nodes.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
    readers = Array(repeating: [], count: nodes.count)
    for (index, node) in nodes.enumerated() {
      var seen: [Int] = []
      for operand in node.presentOperands {
        guard let id = graph.producer(of: operand)?.id, let producer = position[id],
          !seen.contains(producer)
        else { continue }
        seen.append(producer)
        readers[producer].append(index)
      }
      producers.append(seen)
      bytes.append(
        node.results.reduce(0) { $0 + (graph.type(of: $1).storedByteCount?.coefficient ?? 0) })
      makesOutput.append(node.results.contains(where: graph.isOutput))
    }
  }

  /// Producers before readers, following the operand whose subtree needs most memory first.
  func depthFirstOrder() -> [NodeID] {
    var need = Array(repeating: 0, count: ids.count)
    for index in ids.indices {
      let inputs = producers[index].sorted { need[$0] > need[$1] }
      var held = 0
      for input in inputs {
        need[index] = max(need[index], held + need[input])
        held += bytes[input]
      }
      need[index] = max(need[index], held + bytes[index])
    }
    var order: [Int] = []
    var state = Array(repeating: 0, count: ids.count)
    // An explicit stack: a network may be thousands of nodes deep.
    var stack = Array(ids.indices.filter { readers[$0].isEmpty }.reversed())
    while let index = stack.last {
      if state[index] == 0 {
        state[index] = 1
        let inputs = producers[index].sorted { (need[$0], $1) < (need[$1], $0) }
        stack.append(contentsOf: inputs.filter { state[$0] == 0 })
      } else {
        stack.removeLast()
        if state[index] == 1 {
          state[index] = 2
          order.append(index)
        }
      }
    }
    return order.map { ids[$0] }
  }

  /// At each step, the ready node after which the fewest bytes are live; ties by file order.
  func greedyOrder() -> [NodeID] {
    var missing = producers.map(\.count)
    var unread = readers.map(\.count)
    var ready = ids.indices.filter { missing[$0] == 0 }
    var order: [Int] = []
    while !ready.isEmpty {
      var chosen = 0
      var least = Int.max
      for (place, index) in ready.enumerated() {
        let freed = producers[index].reduce(0) { $0 + (unread[$1] == 1 ? bytes[$1] : 0) }
        let change = (makesOutput[index] ? 0 : bytes[index]) - freed
        if (change, index) < (least, ready[chosen]) { (least, chosen) = (change, place) }
      }
      let index = ready.remove(at: chosen)
      order.append(index)
      for producer in producers[index] { unread[producer] -= 1 }
      for reader in readers[index] {
        missing[reader] -= 1
        if missing[reader] == 0 { ready.append(reader) }
      }
    }
    return order.map { ids[$0] }
  }
}
