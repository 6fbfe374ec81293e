// The readers of values, for pattern matching in passes.

import GraftIR
import GraftOps

/// A snapshot of the readers of every value of a graph; cheap to create, and must be created again after a
/// change.
struct Uses {
  private let graph: Graph

  init(_ graph: Graph) { self.graph = graph }

  /// The nodes that read `value`, once for every operand, in no order.
  func readers(of value: ValueID) -> [NodeID] { graph.readers(of: value) }

  func isOutput(_ value: ValueID) -> Bool { graph.isOutput(value) }

  /// The number of operands and outputs that read `value`.
  func count(_ value: ValueID) -> Int {
    readers(of: value).count + (isOutput(value) ? 1 : 0)
  }

  /// Whether exactly one operand of one node reads `value` and it is not an output, so that a pass may change
  /// it.
  func isPrivate(_ value: ValueID) -> Bool { count(value) == 1 && !isOutput(value) }

  /// Why `value` must not change, as text; nil if it is private.
  func obstacle(_ value: ValueID) -> String? {
    if isOutput(value) { return "its result is an output of the network" }
    return readers(of: value).count == 1 ? nil : "its result has other readers"
  }

  /// The one node that reads `value`, if it is private.
  func soleReader(of value: ValueID, in graph: Graph) -> Node? {
    guard isPrivate(value), let reader = readers(of: value).first else { return nil }
    return graph[reader]
  }
}
