// Canonicalizes computations, so that later passes need to match only one pattern each: operators that move
// no elements become reshapes, and operators without effect are removed.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Identity and (in inference) Dropout are removed; Flatten, Squeeze and Unsqueeze become Reshape, and two
/// Reshapes merge; transposes merge, and become a Reshape if only axes of extent 1 move; operators without
/// effect are removed (a Reshape to the same shape, a Clip without limits, a Slice of everything, a Concat of
/// one …); a Sum becomes additions, a Gather of one index a Slice. Each operator defines its simplification:
/// ``Operator/simplified(_:)``.
///
/// ```
/// %1 = dropout(%0) {ratio=0.5} : f32[N,8,1,1] from "drop"
/// %2 = flatten(%1) {axis=1} : f32[N,8] from "flat"
/// ```
/// becomes
/// ```
/// %1 = reshape(%0) {shape=shape [N,8]} : f32[N,8] from "flat"
/// ```
public struct Canonicalize: Pass {
  public static let name = "canonicalize"
  public static let summary = "canonical form of each operator; removes operators without effect"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    var isChanging = true
    while isChanging {
      isChanging = false
      for id in graph.nodeIDs where graph.contains(id) {
        let node = graph[id]
        guard let simplification = try simplification(of: node, in: graph, context) else {
          continue
        }
        switch simplification {
        case .operand(let index):
          guard let value = node.operand(index) else { continue }
          // An output must remain a computed value, not a parameter.
          if graph[value].parameter != nil && graph.isOutput(node.results[0]) { continue }
          context.did("removed \(node.opcode) \(graph.title(node)), which has no effect")
          graph.bypass(node, with: value)
        case .nodes(let nodes, let summary):
          try replace(node, with: nodes, summary, &graph, &context)
        }
        isChanging = true
      }
    }
  }

  private func simplification(
    of node: Node, in graph: Graph, _ context: PassContext
  ) throws -> Simplification? {
    guard node.operand(0) != nil, node.results.count == 1 else { return nil }
    let candidate = SimplifiableNode(node, in: graph, isTraining: context.mode == .training) {
      context.isConstant($0, in: graph)
    }
    return try Catalog.operation(of: node).simplified(candidate)
  }

  private func replace(
    _ node: Node, with nodes: [SimplerNode], _ summary: String?, _ graph: inout Graph,
    _ context: inout PassContext
  ) throws {
    guard let first = nodes.first, let last = nodes.last else {
      throw GraftError(.inconsistency, "\(node.opcode) should become no nodes")
    }
    var absorbed: [Node] = []
    for case .inner(let index) in nodes.flatMap(\.operands) {
      if let producer = node.operand(index).flatMap(graph.producer(of:)) {
        absorbed.append(producer)
      }
    }
    let title = graph.title(node)
    if absorbed.isEmpty {
      let made = summary ?? "a \(type(of: first.operation).opcode)"
      context.did("made \(node.opcode) \(title) \(made)")
    } else {
      let inner = absorbed.map(graph.title).joined(separator: ", ")
      context.did("merged \(node.opcode) \(title) with \(inner)")
    }
    var results: [ValueID] = []
    func operands(of simpler: SimplerNode) -> [ValueID?] {
      simpler.operands.map { source in
        switch source {
        case .operand(let index): node.operand(index)
        case .inner(let index):
          node.operand(index).flatMap(graph.producer(of:))?.operand(0)
        case .result(let index): results.indices.contains(index) ? results[index] : nil
        }
      }
    }
    for simpler in nodes.dropLast() {
      results.append(
        try graph.append(
          simpler.operation, operands(of: simpler), origins: node.origins, before: node.id)[0])
    }
    try graph.replace(node, with: last.operation, operands(of: last), absorbing: absorbed)
  }
}
