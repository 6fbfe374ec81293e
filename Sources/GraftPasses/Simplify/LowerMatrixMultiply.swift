// Products of two matrices as gemm, the one fully connected operator.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A MatMul of two matrices becomes a gemm, into which a bias can be folded.
///
/// ```
/// %2 = matmul(%0, %1) : f32[N,8] from "fc"
/// ```
/// becomes
/// ```
/// %2 = gemm(%0, %1) : f32[N,8] from "fc"
/// ```
public struct LowerMatrixMultiply: Pass {
  public static let name = "lower-matrix-multiply"
  public static let summary = "turns products of two matrices into gemm"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs {
      let node = graph[id]
      guard node.opcode == MatrixMultiply.opcode else { continue }
      let types = graph.operandTypes(of: node).compactMap(\.self)
      guard types.count == 2, types.allSatisfy({ $0.rank == 2 }) else {
        context.left(
          graph.title(node), because: "it multiplies \(types.map(\.description)), not two matrices")
        continue
      }
      context.did("made matmul \(graph.title(node)) a gemm")
      try graph.replace(node, with: Gemm(), node.operands)
    }
  }
}
