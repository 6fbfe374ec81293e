// Copying a part of a graph to another graph.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Copies nodes of one graph into another, with what they read.
struct GraphCopier {
  let source: Graph
  private(set) var target: Graph
  /// The value of the target for each of the source that was copied or given.
  private(set) var values: [ValueID: ValueID] = [:]

  init(from source: Graph, named name: String) {
    self.source = source
    target = Graph(name: name)
  }

  /// Maps a value of the source to an input of the target.
  mutating func addInput(_ name: String, for value: ValueID) {
    values[value] = target.addInput(name, source.type(of: value).with(layout: .plain))
  }

  /// Copies `node` and the parameters that it reads, with types inferred again where operands changed.
  /// - Throws: ``GraftError`` if an operand was neither copied nor given.
  mutating func copy(_ node: Node) throws {
    let operands = try node.operands.map { try $0.map { try value(for: $0) } }
    let results = try target.append(
      try Catalog.operation(of: node), operands, names: node.results.map { source[$0].name },
      origins: node.origins)
    for (old, new) in zip(node.results, results) { values[old] = new }
  }

  /// The copy of a value; a parameter is copied when it is first read.
  mutating func value(for id: ValueID) throws -> ValueID {
    if let known = values[id] { return known }
    guard let parameter = source[id].parameter, let name = source[id].name else {
      throw GraftError(
        .inconsistency,
        "the value \((source[id].name ?? "%\(id.index)").quotedForDisplay) was not copied")
    }
    let copy = target.addParameter(name, source.type(of: id), parameter)
    values[id] = copy
    return copy
  }

  /// Substitutes another value for a value of the source.
  mutating func substitute(_ value: ValueID, with replacement: ValueID) {
    values[value] = replacement
  }

  mutating func build<Result>(_ body: (inout Graph) throws -> Result) rethrows -> Result {
    try body(&target)
  }
}
