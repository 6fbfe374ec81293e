// Where every value stands while a network runs: the memory plan, the caller's buffers and the packed
// weights put together, and how a step function writes each of these down.

import GraftDiagnostics
import GraftIR

/// A place in one of a bundle's memory regions.
enum Place: Hashable {
  /// Bytes into the arena for one unit of N.
  case arena(Int)
  /// Bytes into the part of the arena that does not grow with N.
  case fixed(Int)
  /// Bytes into the packed weights.
  case weights(Int)
  /// The caller's buffer for an input or an output, by number.
  case input(Int)
  case output(Int)

  /// The C expression of the address inside a step function.
  var expression: String {
    switch self {
    case .arena(let offset): "ACTIVATION(\(offset))"
    case .fixed(let offset): "FIXED(\(offset))"
    case .weights(let offset): "WEIGHTS(\(offset))"
    case .input(let index): "INPUT(\(index))"
    case .output(let index): "OUTPUT(\(index))"
    }
  }
}

/// The places of the values of one graph under one memory plan.
struct ValuePlaces {
  private let graph: Graph
  private let plan: MemoryPlan
  private let outputBuffers: [ValueID: Int]
  private let inputBuffers: [ValueID: Int]

  init(graph: Graph, plan: MemoryPlan) {
    self.graph = graph
    self.plan = plan
    outputBuffers = Dictionary(
      graph.outputs.enumerated().map { ($1.value, $0) }, uniquingKeysWith: { first, _ in first })
    inputBuffers = Dictionary(uniqueKeysWithValues: graph.inputs.enumerated().map { ($1, $0) })
  }

  /// The value whose memory `value` uses.
  func root(of value: ValueID) -> ValueID {
    var root = value
    while let next = plan.aliases[root] { root = next }
    return root
  }

  /// - Throws: ``GraftError`` of kind `inconsistency` for a value without a place.
  func place(of value: ValueID) throws -> Place {
    let root = root(of: value)
    if let placement = plan.placements[root] {
      return placement.isPerBatch ? .arena(placement.offset) : .fixed(placement.offset)
    }
    if let index = outputBuffers[root], graph.type(of: root).layout.isPlain,
      graph[root].parameter == nil, inputBuffers[root] == nil
    {
      return .output(index)
    }
    if let index = inputBuffers[root] { return .input(index) }
    throw GraftError(
      .inconsistency,
      "the memory plan has no place for \(graph[value].name ?? "a value") "
        + "of type \(graph.type(of: value))")
  }
}
