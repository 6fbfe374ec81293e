// Computes the same thing once.

import GraftIR
import GraftOps

/// Two nodes with one operator, equal attributes and the same operands become one.
///
/// ```
/// %1 = relu(%0) : f32[N,8] from "a"
/// %2 = relu(%0) : f32[N,8] from "b"
/// ```
/// becomes
/// ```
/// %1 = relu(%0) : f32[N,8] from "a", "b"
/// ```
public struct MergeCommonSubexpressions: Pass {
  public static let name = "merge-common-subexpressions"
  public static let summary = "merges identical nodes with the same operands"

  public init() {}

  private struct Key: Hashable {
    var opcode: Opcode
    var operands: [ValueID?]
    var attributes: Attributes
    var types: [TensorType]
  }

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    var first: [Key: NodeID] = [:]
    for id in graph.nodeIDs {
      let node = graph[id]
      if context.mode == .training, Catalog.type(of: node.opcode)?.isRandom == true { continue }
      let key = Key(
        opcode: node.opcode, operands: node.operands, attributes: node.attributes,
        types: graph.resultTypes(of: node))
      guard let earlier = first[key] else {
        first[key] = id
        continue
      }
      let kept = graph[earlier]
      if node.results.contains(where: graph.isOutput)
        && kept.results.contains(where: graph.isOutput)
      {
        context.left(
          "\(graph.title(node)) and \(graph.title(kept))", because: "both are outputs")
        continue
      }
      context.did("merged \(graph.title(node)) with \(graph.title(kept))")
      for (old, new) in zip(node.results, kept.results) {
        if graph[new].name == nil { graph[new].name = graph[old].name }
        graph.replaceUses(of: old, with: new)
      }
      graph[earlier].origins = graph.origins(of: [kept, node])
      graph.remove(id)
    }
  }
}
