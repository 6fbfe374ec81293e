// Makes the addition of a vector to the rows of a gemm the gemm's third operand.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The addition of a vector with one element for each column to a gemm without a third operand, of which it is the
/// only reader, becomes that operand. The vector need not be a constant: in inference constants are folded by
/// ``FoldBatchNormalization``.
///
/// ```
/// %3 = gemm(%0, %1) : f32[5N,8] from "fc"
/// %4 = add(%2, %3) : f32[5N,8] from "bias"
/// ```
/// becomes
/// ```
/// %3 = gemm(%0, %1, %2) : f32[5N,8] from "fc", "bias"
/// ```
public struct FuseBias: Pass {
  public static let name = "fuse-bias"
  public static let summary = "fuses the addition of a vector into the preceding gemm"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let (add, a, b) = try graph.addition(node) else { continue }
      for (product, vector) in [(a, b), (b, a)] {
        guard case (let producer, var gemm)? = try graph.producer(of: product, as: Gemm.self) else {
          continue
        }
        let what = "\(graph.title(node)) after \(graph.title(producer))"
        if let reason = obstacle(producer, gemm, product, vector, in: graph) {
          context.left(what, because: reason)
          continue
        }
        gemm.activation = add.activation
        gemm.beta = 1
        context.did("fused \(graph.title(node)) into \(graph.title(producer))")
        let operands = [producer.operand(0), producer.operand(1), vector]
        try graph.replace(node, with: gemm, operands, absorbing: [producer])
        break
      }
    }
  }

  private func obstacle(
    _ producer: Node, _ gemm: Gemm, _ product: ValueID, _ vector: ValueID, in graph: Graph
  ) -> String? {
    if let obstacle = Uses(graph).obstacle(product) { return obstacle }
    if gemm.activation != .none || producer.operand(2) != nil || producer.operand(3) != nil {
      return "there already is a third operand, a residual or an activation"
    }
    let (type, own) = (graph.type(of: product), graph.type(of: vector))
    let fits = own.dtype == type.dtype && own.shape == [type.shape[1]]
    return fits ? nil : "\(own) is not one element for each column"
  }
}
