// The location of every value at run time (memory plan, caller's buffers, packed weights), and its C
// expression in step functions.

import GraftDiagnostics
import GraftIR

/// An address in one of a bundle's memory regions.
enum Place: Hashable {
  /// Bytes into the arena for one unit of N.
  case arena(Int)
  /// Bytes into the arena for one unit of N, and those of an image: of a value that steps leave image by
  /// image for later ones that take the batch whole.
  case kept(Int, bytesPerImage: Int)
  /// Bytes into the part of the arena that does not grow with N.
  case fixed(Int)
  /// Bytes into the packed weights.
  case weights(Int)
  /// The caller's buffer for an input or an output, by number.
  case input(Int)
  case output(Int)
  /// A buffer of a training session's state, by number.
  case state(Int)

  /// The C expression of the address inside a step function.
  var expression: String {
    switch self {
    case .arena(let offset): "ACTIVATION(\(offset))"
    case .kept(let offset, let bytesPerImage): "KEPT(\(offset), \(bytesPerImage))"
    case .fixed(let offset): "FIXED(\(offset))"
    case .weights(let offset): "WEIGHTS(\(offset))"
    case .input(let index): "INPUT(\(index))"
    case .output(let index): "OUTPUT(\(index))"
    case .state(let index): "STATE(\(index))"
    }
  }
}

/// The places of the values of one graph under one memory plan.
struct ValueLocations {
  private let graph: Graph
  private let plan: MemoryPlan
  /// The caller's buffers, and the state that an output is the new contents of.
  private let outputPlaces: [ValueID: Place]
  private let inputBuffers: [ValueID: Int]
  private let statePlaces: [ValueID: Place]
  private let states: [String: Int]
  /// What the steps that take a batch in parts leave to those that take it whole.
  private var kept: Set<ValueID> = []
  /// The outputs that the caller gets, in the order of their buffers: all but new contents of state.
  let callerOutputs: [GraphOutput]

  /// - Parameter states: the number of each parameter that is state, by name.
  init(graph: Graph, plan: MemoryPlan, states: [String: Int] = [:]) {
    self.graph = graph
    self.plan = plan
    self.states = states
    callerOutputs = graph.outputs.filter { states[$0.name] == nil }
    let written = graph.outputs.compactMap { output in
      states[output.name].map { (output.value, Place.state($0)) }
    }
    outputPlaces = Dictionary(
      written + callerOutputs.enumerated().map { ($1.value, Place.output($0)) },
      uniquingKeysWith: { first, _ in first })
    inputBuffers = Dictionary(uniqueKeysWithValues: graph.inputs.enumerated().map { ($1, $0) })
    statePlaces = Dictionary(
      uniqueKeysWithValues: graph.parameters.compactMap { parameter in
        graph[parameter].name.flatMap { states[$0] }.map { (parameter, Place.state($0)) }
      })
  }

  var hasStates: Bool { !states.isEmpty }

  func isStateName(_ name: String) -> Bool { states[name] != nil }

  /// Whether `value` is a parameter that the program itself changes.
  func isState(_ value: ValueID) -> Bool { statePlaces[value] != nil }

  /// The value whose memory `value` uses.
  func root(of value: ValueID) -> ValueID {
    var root = value
    while let next = plan.aliases[root] { root = next }
    return root
  }

  /// Marks what the first `cut` nodes leave for those behind them, or for copies of outputs.
  mutating func keepValues(acrossNode cut: Int) {
    let nodes = graph.nodes
    let cut = max(0, min(cut, nodes.count))
    let read = nodes[cut...].flatMap(\.presentOperands) + callerOutputs.map(\.value)
    kept = Set(nodes[..<cut].flatMap(\.results).map(root)).intersection(read.map(root))
  }

  /// - Throws: ``GraftError`` of kind `inconsistency` for a value without a place.
  func place(of value: ValueID) throws -> Place {
    let root = root(of: value)
    if let placement = plan.placements[root] {
      guard placement.isPerBatch else { return .fixed(placement.offset) }
      if kept.contains(root), let bytes = graph.type(of: root).storedByteCount {
        return .kept(placement.offset, bytesPerImage: bytes.coefficient)
      }
      return .arena(placement.offset)
    }
    if let place = outputPlaces[root], graph.type(of: root).layout.isPlain,
      graph[root].parameter == nil, inputBuffers[root] == nil
    {
      return place
    }
    if let place = statePlaces[root] { return place }
    if let index = inputBuffers[root] { return .input(index) }
    throw GraftError(
      .inconsistency,
      "the memory plan has no placement for \(graph[value].name ?? "a value") "
        + "of type \(graph.type(of: value))")
  }
}
