// The freeze line: everything before it is frozen and keeps its compiled code, everything at or after it
// trains.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The layers that train in addition to the head.
public enum Unfreezing: Hashable, Sendable {
  /// Only the head.
  case none
  /// The last operators with weights before the head.
  case last(Int)
  /// Everything at or after the first node or parameter whose name has these components.
  case scope(String)
  case all

  /// Reads `none`, `all`, `last:N` or a scope.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for `last:` without a count of 1 or more.
  public init(_ text: String) throws {
    switch text {
    case "none": self = .none
    case "all": self = .all
    case _ where text.hasPrefix("last:"):
      guard let count = Int(text.dropFirst(5)), count >= 1 else {
        throw GraftError(
          .invalidArgument, "\(text.quotedForDisplay) must be last:N with N at least 1")
      }
      self = .last(count)
    case "": throw GraftError(.invalidArgument, "a scope must not be empty")
    default: self = .scope(text)
    }
  }
}

extension Unfreezing: CustomStringConvertible {
  /// The text on the command line.
  public var description: String {
    switch self {
    case .none: "none"
    case .last(let count): "last:\(count)"
    case .scope(let scope): scope
    case .all: "all"
    }
  }
}

/// A position in a graph's order of execution: nodes from `firstNode` on train.
public struct FreezeLine: Sendable {
  /// Index into `Graph.nodes`.
  public let firstNode: Int
  /// Whether each of `Graph.nodes` trains: those from `firstNode` on, auxiliary heads with all that reads them, and
  /// earlier ones that compute their operands only from parameters, such as the transpose of a weight.
  public let trains: [Bool]
  /// The values that cross the line, in the order of their definition: inputs of the graph or results of
  /// nodes before it.
  public let cut: [ValueID]

  /// - Parameters:
  ///   - head: the node of the head; see ``Head``.
  ///   - auxiliary: the nodes of the heads of outputs after the first.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if a scope does not exist, with similar names.
  public init(
    _ unfreezing: Unfreezing, in graph: Graph, head: Node, auxiliary: [Node] = []
  ) throws {
    let nodes = graph.nodes
    guard let headIndex = nodes.firstIndex(where: { $0.id == head.id }) else {
      throw GraftError(.inconsistency, "the head is not a node of the graph")
    }
    switch unfreezing {
    case .none: firstNode = headIndex
    case .all: firstNode = 0
    case .last(let count):
      let weighted = nodes.indices.filter {
        $0 < headIndex && Head.readsWeights(nodes[$0], in: graph)
      }
      guard weighted.count >= count else {
        throw GraftError(
          .invalidArgument,
          "last:\(count) exceeds the network: before the head there are \(weighted.count) operators "
            + "with weights",
          advice: "Use --unfreeze all.")
      }
      firstNode = weighted[weighted.count - count]
    case .scope(let scope):
      guard let index = Scopes(graph).firstNode(in: scope) else {
        let scopes = Scopes(graph)
        let near = scopes.nearest(to: scope).map(\.quotedForDisplay)
        let outermost = scopes.outermost.map(\.quotedForDisplay).joined(separator: ", ")
        throw GraftError(
          .invalidArgument, "no node or parameter is in the scope \(scope.quotedForDisplay)",
          advice: near.isEmpty
            ? "The last scopes are: \(outermost); graft dump --summary lists all."
            : "Similar scopes: \(near.joined(separator: ", ")).")
      }
      firstNode = min(index, headIndex)
    }
    var later =
      Array(repeating: false, count: firstNode)
      + Array(repeating: true, count: nodes.count - firstNode)
    if !auxiliary.isEmpty {
      // A branch to another output is no head; only the head at its end is.
      let isPart = unfreezing == .none ? Self.needed(in: graph, for: 0) : later.map { _ in true }
      var trained = Set(auxiliary.flatMap(\.results))
      for (index, node) in nodes.enumerated() {
        later[index] =
          later[index] && isPart[index] || node.results.contains(where: trained.contains)
          || node.presentOperands.contains(where: trained.contains)
        if later[index] { trained.formUnion(node.results) }
      }
    }
    trains = Self.addingOperands(of: later, in: nodes, graph)
    cut = Self.crossing(graph, trains)
  }

  /// Whether an output depends on each of the nodes.
  private static func needed(in graph: Graph, for output: Int) -> [Bool] {
    var open = Set([graph.outputs[output].value])
    let needed = graph.nodes.reversed().map { node in
      guard node.results.contains(where: open.contains) else { return false }
      open.formUnion(node.presentOperands)
      return true
    }
    return needed.reversed()
  }

  private static func addingOperands(
    of training: [Bool], in nodes: [Node], _ graph: Graph
  ) -> [Bool] {
    var computed = Set(graph.inputs)
    for node in nodes where node.presentOperands.contains(where: computed.contains) {
      computed.formUnion(node.results)
    }
    var trains = training
    var read = Set(zip(nodes, trains).filter(\.1).flatMap(\.0.presentOperands))
    for index in nodes.indices.reversed() where !trains[index] {
      let results = nodes[index].results
      guard results.contains(where: read.contains), !results.contains(where: computed.contains),
        !nodes[index].presentOperands.isEmpty
      else { continue }
      trains[index] = true
      read.formUnion(nodes[index].presentOperands)
    }
    return trains
  }

  private static func crossing(_ graph: Graph, _ trains: [Bool]) -> [ValueID] {
    var (before, read) = (graph.inputs, Set(graph.outputs.map(\.value)))
    for (node, trains) in zip(graph.nodes, trains) {
      if trains { read.formUnion(node.presentOperands) } else { before += node.results }
    }
    return before.filter(read.contains)
  }
}

/// The scopes of a graph: leading components of the dotted or slashed names of its nodes and parameters.
struct Scopes {
  /// For each node the component lists of its own name and of its parameters' names.
  private var names: [[[Substring]]] = []

  init(_ graph: Graph) {
    names = graph.nodes.map { node in
      let parameters = node.presentOperands.compactMap {
        graph[$0].parameter == nil ? nil : graph[$0].name
      }
      return (node.origins + parameters).map(Self.components)
    }
  }

  static func components(_ name: String) -> [Substring] {
    name.split(whereSeparator: { $0 == "." || $0 == "/" })
  }

  /// The first node with a name that contains the components of `scope` consecutively.
  func firstNode(in scope: String) -> Int? {
    let wanted = Self.components(scope)
    guard !wanted.isEmpty else { return nil }
    return names.firstIndex { list in
      list.contains { name in
        name.count >= wanted.count
          && (0...(name.count - wanted.count)).contains { start in
            Array(name[start..<(start + wanted.count)]) == wanted
          }
      }
    }
  }

  /// Up to five scopes similar to `scope`, in order of distance.
  func nearest(to scope: String) -> [String] {
    var seen = Set<String>()
    let candidates = names.joined().flatMap { name in
      name.indices.map { name[...$0].joined(separator: ".") } + name.map(String.init)
    }.filter { seen.insert($0).inserted }
    let isNumber = Int(scope) != nil
    return candidates.filter { isNumber || Int($0) == nil }
      .map { ($0, Self.distance(scope.lowercased(), $0.lowercased())) }
      .filter { name, distance in
        // Names with only a random overlap are not similar; names that contain the text are.
        name.lowercased().contains(scope.lowercased())
          || Double(distance) <= Double(max(scope.count, name.count)) * 0.5
      }
      .sorted { ($0.1, $0.0) < ($1.1, $1.0) }.prefix(5).map(\.0)
  }

  /// Up to eight scopes at the top, in the order of the network.
  var outermost: [String] {
    var seen = Set<Substring>()
    return names.joined().compactMap(\.first).filter { Int($0) == nil && seen.insert($0).inserted }
      .suffix(8).map(String.init)
  }

  /// The edit distance (Levenshtein 1966) of two names, of which at most 64 characters count.
  private static func distance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a.prefix(64)), Array(b.prefix(64)))
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, y) in b.enumerated() {
        let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (x == y ? 0 : 1))
        diagonal = row[j + 1]
        row[j + 1] = next
      }
    }
    return row[b.count]
  }
}
