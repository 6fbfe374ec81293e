// What a family of kernels is: the operators that it serves, and the schedules that it offers for a node. A
// schedule holds all that was decided; emission renders it and chooses nothing.

import GraftDiagnostics
import GraftIR
import GraftOps

/// One way to compute one node, with everything decided.
protocol KernelSchedule {
  /// Algorithm, register tile and what threads share, in words; empty where a family has one way only.
  var summary: String { get }
  /// The estimated time for one image, in vector multiply-adds, of which a core does as many in a second
  /// whatever the target: so arithmetic, transforms and memory compare by numbers that hold everywhere.
  var cost: Double { get }
  /// The cost counts as so many times as much where it is compared with that of others: for what speed alone
  /// does not say.
  var reluctance: Double { get }
  /// Bytes that each thread needs for itself while the kernel runs.
  var scratchBytes: Int { get }
  /// What the algorithm makes of the arithmetic that the operator asks for.
  var workShape: WorkShape { get }
  /// False for a view.
  var hasWork: Bool { get }
  /// What measurements of the schedule are kept under; nil where nothing is measured.
  var site: ConvolutionSite? { get }

  /// Adds the node's steps.
  func emit(_ node: Node, into program: inout Lowering) throws
}

extension KernelSchedule {
  var reluctance: Double { 1 }
  var scratchBytes: Int { 0 }
  var workShape: WorkShape { WorkShape() }
  var hasWork: Bool { true }
  var site: ConvolutionSite? { nil }
}

/// Kernels that share their code: a folder of Kernels/, and a line of ``KernelRegistry``.
struct KernelFamily: Sendable {
  /// As `graft dump --stage scheduled` writes it.
  var name: String
  var rules: [KernelRule]
}

/// How a family serves one operator, or all operators of one protocol.
struct KernelRule: Sendable {
  /// The schedules for a node, none where the family cannot compute it; nil for another operator.
  let schedules: @Sendable (any Operator, Node, SelectionContext) throws -> [any KernelSchedule]?

  /// A rule for operators of type `Served`, which may be a protocol.
  static func serving<Served>(
    _ type: Served.Type,
    _ schedules:
      @escaping @Sendable (Served, Node, SelectionContext) throws -> [any KernelSchedule]
  ) -> KernelRule {
    KernelRule { operation, node, context in
      try (operation as? Served).map { try schedules($0, node, context) }
    }
  }

  /// A rule for operators that are computed in one way.
  static func emitting<Served: Sendable>(
    _ type: Served.Type,
    _ emit: @escaping @Sendable (Served, Node, inout Lowering) throws -> Void
  ) -> KernelRule {
    KernelRule { operation, node, context in
      guard let served = operation as? Served else { return nil }
      return [
        FixedSchedule(cost: context.elementwiseCost(node, operation)) { node, program in
          try emit(served, node, &program)
        }
      ]
    }
  }
}

/// The schedule of an operator that is computed in one way.
private struct FixedSchedule: KernelSchedule {
  let summary = ""
  let cost: Double
  let body: (Node, inout Lowering) throws -> Void

  func emit(_ node: Node, into program: inout Lowering) throws { try body(node, &program) }
}

/// What schedules are chosen from.
struct SelectionContext {
  let graph: Graph
  let target: Target
  /// The batch that a choice is best for, where any may come.
  var typicalBatch = 1
  var preferences = ConvolutionChoices()

  func type(_ value: ValueID) -> TensorType { graph.type(of: value) }

  /// Images of a batch, or those that are typical.
  func count(_ images: Dimension) -> Int {
    max(1, images.isBatch ? typicalBatch : images.coefficient)
  }

  /// Of a node that reads and writes each element once: its arithmetic, and its elements.
  func elementwiseCost(_ node: Node, _ operation: any Operator) -> Double {
    let work = operation.cost(
      operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node))
    let elements = (node.presentOperands + node.results).reduce(0.0) { sum, value in
      guard graph[value].parameter == nil else { return sum }
      return sum + Double(type(value).storedByteCount?.coefficient ?? 0)
        / Double(type(value).dtype.byteCount)
    }
    return (Double(work.multiplyAdds) + elements) / Double(target.lanes)
  }
}
