// Recognizes global pools.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A mean over height and width, and a pool whose window is the image, become global pools.
///
/// ```
/// %1 = reduce_mean(%0) {axes=[2, 3], keeps_axes=false} : f32[N,8] from "mean"
/// ```
/// becomes
/// ```
/// %1 = global_average_pool(%0) : f32[N,8,1,1] from "mean"
/// %2 = reshape(%1) {shape=shape [N,8]} : f32[N,8] from "mean"
/// ```
public struct SimplifyGlobalPools: Pass {
  public static let name = "simplify-global-pools"
  public static let summary = "turns means and pools over whole images into global pools"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs {
      let node = graph[id]
      guard let x = node.operand(0), node.results.count == 1, graph.type(of: x).rank == 4,
        let pool = try globalPool(node, of: graph.type(of: x))
      else { continue }
      context.did("made \(node.opcode) \(graph.title(node)) a \(type(of: pool).opcode)")
      let shape = graph.type(of: node.results[0]).shape
      if shape.rank == 4 {
        try graph.replace(node, with: pool, [x])
      } else {
        let mean = try graph.append(pool, [x], origins: node.origins, before: id)[0]
        try graph.replace(node, with: Reshape(shape: shape), [mean])
      }
    }
  }

  private func globalPool(_ node: Node, of x: TensorType) throws -> (any Operator)? {
    switch try Catalog.operation(of: node) {
    case let mean as ReduceMean: return mean.axes == [2, 3] ? GlobalAveragePool() : nil
    case let pool as AveragePool: return isWhole(pool.window, of: x) ? GlobalAveragePool() : nil
    case let pool as MaxPool: return isWhole(pool.window, of: x) ? GlobalMaxPool() : nil
    default: return nil
    }
  }

  private func isWhole(_ window: Window, of x: TensorType) -> Bool {
    window.kernel == [x.shape[2].constant, x.shape[3].constant] && window.dilations == [1, 1]
      && window.pads.allSatisfy { $0 == 0 }
  }
}
