// Chooses a kernel for every node of a graph, after layout assignment and before code generation. Scratch
// memory, batch parts and reports follow from the choices.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The chosen kernel of a node.
struct KernelChoice {
  /// The family's name.
  var family: String
  var schedule: any KernelSchedule
  /// The element type that the kernel computes in or moves.
  var element: DataType
  /// The estimated time for one image, in vector multiply-adds.
  var time: Double

  /// The note for dumps.
  var note: KernelNote {
    KernelNote(
      family: family, algorithm: schedule.summary.isEmpty ? nil : schedule.summary,
      element: element, time: time.rounded())
  }
}

/// The choices for a graph.
struct KernelSelection {
  private(set) var choices: [NodeID: KernelChoice] = [:]
  /// The estimated time of the convolutions relative to the cost model's own choices.
  private(set) var slowdown = 1.0

  /// Chooses the schedule with the lowest estimated cost for every node.
  /// - Throws: ``GraftError`` that names the node that no family can compute.
  init(_ context: SelectionContext) throws {
    var free = context
    free.preferences = ConvolutionChoices()
    let isFree = context.preferences == free.preferences
    var (chosen, fastest) = (0.0, 0.0)
    for node in context.graph.nodes {
      try at(context.graph.location(of: node)) {
        let choice = try Self.choose(for: node, context)
        choices[node.id] = choice
        guard choice.schedule.site != nil else { return }
        chosen += choice.schedule.cost
        fastest +=
          isFree ? choice.schedule.cost : try Self.choose(for: node, free).schedule.cost
      }
    }
    if fastest > 0 { slowdown = chosen / fastest }
  }

  /// The candidate with the least cost.
  static func choose(
    for node: Node, _ context: SelectionContext
  ) throws -> KernelChoice {
    let candidates = try KernelRegistry.candidates(for: node, context)
    guard
      let best = candidates.min(by: {
        $0.schedule.cost * $0.schedule.reluctance < $1.schedule.cost * $1.schedule.reluctance
      })
    else {
      throw GraftError(
        .unsupported, "there is no kernel for \(node.opcode)",
        advice: "Passes usually replace or fold such operators, but this one remains.")
    }
    return KernelChoice(
      family: best.family, schedule: best.schedule,
      element: best.schedule.arithmetic
        ?? (node.presentOperands + node.results).first.map { context.type($0).dtype } ?? .float32,
      time: best.schedule.cost + (best.schedule.hasWork ? context.memoryTime(node) : 0))
  }

  /// Bytes that each thread of a session has for itself.
  var scratchBytesPerThread: Int { choices.values.map(\.schedule.scratchBytes).max() ?? 0 }

  /// - Throws: ``GraftError`` of kind `inconsistency` for a node of another graph.
  func choice(for node: Node) throws -> KernelChoice {
    guard let choice = choices[node.id] else {
      throw GraftError(.inconsistency, "no kernel was chosen for \(node.opcode)")
    }
    return choice
  }
}

extension Graph {
  /// Where errors about `node` are.
  func location(of node: Node) -> SourceLocation {
    SourceLocation(
      node: node.origins.first ?? node.results.first.flatMap { self[$0].name },
      operatorName: node.opcode.rawValue, irLine: line(of: node))
  }
}
