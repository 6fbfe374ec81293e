// A network split at its freeze line: the frozen trunk before it, and the tail after it, which ends in
// logits.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A network split at its freeze line.
public struct NetworkParts: Sendable {
  /// The output of the tail.
  public enum Answer: Hashable, Sendable {
    /// Logits [batch, classes], or [batch, positions, classes] for an output with several positions, without a
    /// final activation; two classes for a network with a single probability.
    case logits
    /// The network's output, unchanged.
    case output
  }

  /// The whole network, its final activation included.
  public let network: Graph
  /// From the network's inputs to the values at the freeze line; without nodes if everything trains.
  public let trunk: Graph
  /// From the values at the freeze line to the logits, those of the network's first output and then of auxiliary ones.
  public let tail: Graph
  /// The values of ``network`` at the freeze line, in the order of the tail's inputs, and their names.
  public let cut: [ValueID]
  public let cutNames: [String]
  /// The parameters of the tail's operators that are weights, by name, in the order in which they are read.
  public let tailParameters: [String]
  /// The other parameters, which do not train, with the reason; see ``Literals``.
  public let tailLiterals: [(name: String, reason: Literals.Reason)]

  /// - Throws: ``GraftError`` if a scope does not exist or the head cannot be found.
  public init(
    _ graph: Graph, unfreezing: Unfreezing, answer: Answer = .logits
  ) throws {
    let heads = try graph.outputs.map { try Head.lastLayer(of: graph.keepingOnly($0)) }
    guard let head = heads.first else {
      throw GraftError(.unsupported, "the network has no output")
    }
    let line = try FreezeLine(
      unfreezing, in: graph, head: head, auxiliary: Array(heads.dropFirst()))
    let nodes = graph.nodes
    // The branch to an auxiliary output may have frozen nodes after the first that trains.
    let last = heads.count > 1 ? nodes.count : line.firstNode
    network = graph
    cut = line.cut
    let names = Self.names(of: line.cut, in: graph)
    cutNames = names

    var trunk = GraphCopier(from: graph, named: graph.name)
    for input in graph.inputs { trunk.addInput(graph[input].name ?? "", for: input) }
    for node in nodes[..<last] { try trunk.copy(node) }
    for (value, name) in zip(line.cut, names) {
      let copy = try trunk.value(for: value)
      trunk.build { $0.outputs.append(GraphOutput(name: name, value: copy)) }
    }
    if line.trains[..<last].contains(true) {
      trunk.build { _ = $0.removeDeadCode() }
    }
    self.trunk = trunk.target

    var tail = GraphCopier(from: graph, named: graph.name)
    for (value, name) in zip(line.cut, names) { tail.addInput(name, for: value) }
    for (node, trains) in zip(nodes, line.trains) where trains { try tail.copy(node) }
    for (index, output) in graph.outputs.enumerated() {
      let ending = try Ending(of: output.value, in: graph)
      let last = answer == .logits ? ending.logits : output.value
      var value = try tail.value(for: graph.beforeCasts(last))
      if answer == .logits { value = try tail.build { try $0.appendRows(of: value, ending) } }
      let name = index == 0 ? "logits" : "auxiliary.\(index - 1)"
      tail.build { $0.outputs.append(GraphOutput(name: name, value: value)) }
    }
    tail.build { _ = $0.removeDeadCode() }
    self.tail = tail.target
    let made = self.tail
    let literals = Literals(graph)
    let reasons = Dictionary(
      literals.reasons.compactMap { value, reason in graph[value].name.map { ($0, reason) } },
      uniquingKeysWith: { first, _ in first })
    var seen = Set<String>()
    let read = made.nodes.flatMap(\.presentOperands).compactMap { value -> String? in
      guard made[value].parameter != nil, made.type(of: value).dtype.isFloatingPoint,
        let name = made[value].name, seen.insert(name).inserted
      else { return nil }
      return name
    }
    tailParameters = read.filter { reasons[$0] == nil }
    tailLiterals = read.compactMap { name in reasons[name].map { (name, $0) } }
  }

  /// A name for every value: the user's, or one that is unused.
  private static func names(of values: [ValueID], in graph: Graph) -> [String] {
    values.enumerated().map { graph[$1].name ?? "cut.\($0)" }
  }
}

extension Graph {
  /// The value before a final cast to another floating-point type, because losses use the uncast values.
  fileprivate func beforeCasts(_ value: ValueID) throws -> ValueID {
    var value = value
    while let node = producer(of: value), let x = node.operand(0),
      try Catalog.operation(of: node).keepsValues, type(of: value).dtype.isFloatingPoint,
      type(of: value).dtype != .float32, type(of: x).dtype == .float32
    {
      value = x
    }
    return value
  }
}
