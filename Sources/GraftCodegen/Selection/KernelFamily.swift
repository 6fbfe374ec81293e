// Kernel families: the operators that a family implements, and the schedules that it offers for a node. A
// schedule contains all decisions; emission renders it.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A schedule: one way to compute a node, with all decisions.
protocol KernelSchedule {
  /// Algorithm, register tile and division among threads, as text; empty if the family has only one
  /// algorithm.
  var summary: String { get }
  /// The estimated time for one image, in vector multiply-adds (``NodeCostModel``), without that of reading
  /// and writing activations, which is the same for all schedules of a node.
  var cost: Double { get }
  /// A factor on the cost in comparisons with other schedules, for considerations other than speed.
  var reluctance: Double { get }
  /// Scratch bytes per thread while the kernel runs.
  var scratchBytes: Int { get }
  /// How the algorithm's arithmetic relates to the operator's.
  var workShape: WorkShape { get }
  /// False for a view.
  var hasWork: Bool { get }
  /// The type that the kernel computes in; nil if it moves elements of any type.
  var arithmetic: DataType? { get }
  /// The key of measurements of the schedule; nil if it is not measured.
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

/// A kernel family: a folder of Kernels/, and a line in ``KernelRegistry``.
struct KernelFamily: Sendable {
  /// The name in `graft dump --stage scheduled`.
  var name: String
  var rules: [KernelRule]
}

/// How a family implements one operator, or all operators of one protocol.
struct KernelRule: Sendable {
  /// The schedules for a node, empty if the family cannot compute it; nil for another operator.
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

  /// A rule for operators with only one schedule.
  /// - Parameters:
  ///   - movesElements: whether kernels only move, compare or convert elements of any type.
  ///   - cost: what a schedule costs; the operator's multiply-adds in whole vectors if nil.
  static func emitting<Served: Sendable>(
    _ type: Served.Type, movesElements: Bool = false,
    cost: (@Sendable (Served, Node, SelectionContext) -> Double)? = nil,
    _ emit: @escaping @Sendable (Served, Node, inout Lowering) throws -> Void
  ) -> KernelRule {
    KernelRule { operation, node, context in
      guard let served = operation as? Served else { return nil }
      return [
        FixedSchedule(
          cost: cost?(served, node, context) ?? context.arithmeticTime(node, operation),
          arithmetic: movesElements ? nil : node.results.first.map { context.type($0).dtype }
        ) { node, program in
          try emit(served, node, &program)
        }
      ]
    }
  }
}

/// The only schedule of an operator.
private struct FixedSchedule: KernelSchedule {
  let summary = ""
  let cost: Double
  let arithmetic: DataType?
  let body: (Node, inout Lowering) throws -> Void

  func emit(_ node: Node, into program: inout Lowering) throws { try body(node, &program) }
}

/// The input of schedule selection.
struct SelectionContext {
  let graph: Graph
  let target: Target
  /// The batch size to optimize for, if it is dynamic.
  var typicalBatch = 1
  var preferences = ConvolutionChoices()
  /// Whether the factors of sums of products with constant weights may be rounded to bfloat16.
  var roundsFactors = false

  /// Layouts of values that differ from their types.
  var layouts: [ValueID: Layout] = [:]

  func type(_ value: ValueID) -> TensorType {
    let type = graph.type(of: value)
    return layouts[value].map { type.with(layout: $0) } ?? type
  }

  /// The batch size, or a typical one.
  func count(_ images: Dimension) -> Int {
    max(1, images.isBatch ? typicalBatch : images.coefficient)
  }
}
