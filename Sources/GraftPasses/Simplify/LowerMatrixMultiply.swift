// Products with one matrix as gemm, the one fully connected operator.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A MatMul of an operand of any rank with one matrix becomes a gemm of all its rows, into which a bias, an
/// activation and a residual can be folded. A transpose of the matrix, which is one of a parameter that trains,
/// becomes the gemm's.
///
/// ```
/// %2 = matmul(%0, %1) : f32[N,5,8] from "fc"
/// ```
/// becomes
/// ```
/// %2 = reshape(%0) {shape=shape [5N,4]} : f32[5N,4] from "fc"
/// %3 = gemm(%2, %1) : f32[5N,8] from "fc"
/// %4 = reshape(%3) {shape=shape [N,5,8]} : f32[N,5,8] from "fc"
/// ```
/// Reshapes are views. ``SinkReshapes`` moves the second one out of the way.
public struct LowerMatrixMultiply: Pass {
  public static let name = "lower-matrix-multiply"
  public static let summary = "turns products with one matrix into gemm"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs {
      try Self.lower(graph[id], in: &graph, &context)
    }
  }

  /// Makes a product with one matrix a gemm; leaves any other node.
  static func lower(
    _ node: Node, in graph: inout Graph, _ context: inout PassContext
  ) throws {
    guard node.opcode == MatrixMultiply.opcode, let a = node.operand(0), let b = node.operand(1)
    else { return }
    let (left, right) = (graph.type(of: a), graph.type(of: b))
    let transpose = try graph.producer(of: b, as: Transpose.self)
      .flatMap { $0.operation.permutation == [1, 0] ? $0.node : nil }
    let gemm = Gemm(transposesB: transpose != nil)
    let matrix = transpose?.operand(0) ?? b
    let absorbed = transpose.map { [$0] } ?? []
    guard right.rank == 2, left.rank >= 2 else {
      return context.left(
        graph.title(node), because: "it multiplies \(left) and \(right), not rows and a matrix")
    }
    let rows = Self.rows(of: left)
    if left.rank == 2 {
      context.did("made matmul \(graph.title(node)) a gemm")
      try graph.replace(node, with: gemm, [a, matrix], absorbing: absorbed)
      return
    }
    guard let rows else {
      return context.left(graph.title(node), because: "its rows are those of \(left)")
    }
    context.did("made matmul \(graph.title(node)) a gemm of \(rows) rows")
    let table = try graph.append(
      Reshape(shape: [rows, left.shape[left.rank - 1]]), [a], origins: node.origins,
      before: node.id)
    let product = try graph.append(
      gemm, [table[0], matrix], origins: node.origins, before: node.id)
    let shape = graph.type(of: node.results[0]).shape
    try graph.replace(node, with: Reshape(shape: shape), [product[0]])
    graph.removeUnread(absorbed)
  }

  /// The rows of an operand of rank 2 or more; nil if it does not become a matrix.
  private static func rows(of left: TensorType) -> Dimension? {
    let rows = TensorShape(Array(left.shape.dimensions.dropLast())).elementCount
    return left.rank == 2 || left.dtype == .float32 && rows != 0 ? rows : nil
  }

  /// Whether every reader of a transposed matrix takes it as it was before, so that it need not be computed.
  static func takesIn(_ transpose: Node, in graph: Graph) throws -> Bool {
    guard
      let operation = try graph.operation(transpose, as: Transpose.self),
      operation.permutation == [1, 0], !graph.isOutput(transpose.results[0])
    else { return false }
    let readers = graph.readers(of: transpose.results[0]).map { graph[$0] }
    return !readers.isEmpty
      && readers.allSatisfy { reader in
        guard reader.opcode == MatrixMultiply.opcode, let a = reader.operand(0),
          a != transpose.results[0], reader.operand(1) == transpose.results[0]
        else { return false }
        let left = graph.type(of: a)
        return left.rank >= 2 && rows(of: left) != nil
      }
  }
}
