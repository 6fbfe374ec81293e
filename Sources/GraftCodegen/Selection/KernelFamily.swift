// What a family of kernels is: the operators that it serves, and the schedules that it offers for a node. A
// schedule holds all that was decided; emission renders it and chooses nothing.

import GraftDiagnostics
import GraftIR
import GraftOps

/// One way to compute one node, with everything decided.
protocol KernelSchedule {
  /// Algorithm, register tile and what threads share, in words; empty where a family has one way only.
  var summary: String { get }
  /// The estimated time for one image, in vector multiply-adds (``NodeCostModel``), without that of reading
  /// and writing activations, which is the same for all schedules of a node.
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
  /// The type that the kernel computes in; nil if it moves elements of any type.
  var arithmetic: DataType? { get }
  /// What measurements of the schedule are kept under; nil if nothing is measured.
  var site: ConvolutionSite? { get }

  /// Adds the node's steps.
  func emit(_ node: Node, into program: inout Lowering) throws
}

extension KernelSchedule {
  var reluctance: Double { 1 }
  var scratchBytes: Int { 0 }
  var workShape: WorkShape { WorkShape() }
  var hasWork: Bool { true }
  var arithmetic: DataType? { .float32 }
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
  /// - Parameters:
  ///   - arithmetic: what kernels compute in; nil for those that move, compare or convert any type.
  ///   - cost: what a schedule costs; the operator's multiply-adds in whole vectors if nil.
  static func emitting<Served: Sendable>(
    _ type: Served.Type, arithmetic: DataType? = .float32,
    cost: (@Sendable (Served, Node, SelectionContext) -> Double)? = nil,
    _ emit: @escaping @Sendable (Served, Node, inout Lowering) throws -> Void
  ) -> KernelRule {
    KernelRule { operation, node, context in
      guard let served = operation as? Served else { return nil }
      return [
        FixedSchedule(
          cost: cost?(served, node, context) ?? context.arithmeticTime(node, operation),
          arithmetic: arithmetic
        ) { node, program in
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
  let arithmetic: DataType?
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

  /// How values lie in memory where that is not what their types say.
  var layouts: [ValueID: Layout] = [:]

  func type(_ value: ValueID) -> TensorType {
    let type = graph.type(of: value)
    return layouts[value].map { type.with(layout: $0) } ?? type
  }

  /// Images of a batch, or those that are typical.
  func count(_ images: Dimension) -> Int {
    max(1, images.isBatch ? typicalBatch : images.coefficient)
  }
}
