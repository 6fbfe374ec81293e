// Evaluates nodes that depend only on parameters at compile time.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The results of a node with only constant operands become parameters, computed by the operator's reference
/// implementation in float64 and rounded once.
///
/// ```
/// %1 "w" = parameter : f32[8,4]
/// %2 = transpose(%1) {permutation=[1, 0]} : f32[4,8] from "transpose"
/// ```
/// becomes
/// ```
/// %1 "w.folded" = parameter {derivation="folded transpose \"transpose\""} : f32[4,8]
/// ```
/// Results that are outputs, or that have many more elements than their operands, are not folded; nor are transposes
/// that ``LowerMatrixMultiply`` takes in.
public struct FoldConstants: Pass {
  public static let name = "fold-constants"
  public static let summary = "computes nodes that depend only on parameters"
  public static let modes: Set<PassMode> = [.inference, .training]

  /// Results of up to as many elements may have more than all operands together: the masks of windows have.
  static let alwaysAllowedElements = 1 << 18
  /// As long as those of a network add up to no more than this.
  private static let mostAddedElements = 1 << 24

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    var added = 0
    for id in graph.nodeIDs {
      let node = graph[id]
      let operands = node.presentOperands
      guard !operands.isEmpty, operands.allSatisfy({ context.isConstant($0, in: graph) }) else {
        continue
      }
      if try LowerMatrixMultiply.takesIn(node, in: graph) {
        context.left(graph.title(node), because: "the product after it takes the matrix as it is")
        continue
      }
      if let reason = obstacle(node, graph, &added) {
        context.left(graph.title(node), because: reason)
        continue
      }
      try graph.replaceByConstants(
        node, named: "\(graph.name(operands[0])).folded",
        derivation: "folded \(node.opcode) \(graph.title(node))")
      context.did("computed \(graph.title(node))")
    }
  }

  private func obstacle(_ node: Node, _ graph: Graph, _ added: inout Int) -> String? {
    if node.results.contains(where: graph.isOutput) {
      return "its result is an output of the network"
    }
    let given = node.presentOperands.reduce(0) { $0 + (elements(of: $1, graph) ?? 0) }
    for result in node.results {
      guard let count = elements(of: result, graph), graph.type(of: result).layout.isPlain else {
        return "its result is \(graph.type(of: result)), which depends on the batch"
      }
      guard count > given else { continue }
      if count > Self.alwaysAllowedElements || added + count > Self.mostAddedElements {
        return "its result would have \(count) elements, from \(given)"
      }
      added += count
    }
    return nil
  }

  private func elements(of value: ValueID, _ graph: Graph) -> Int? {
    graph.type(of: value).shape.elementCount?.constant
  }
}
