// The movements around an attention as its views.

import GraftDiagnostics
import GraftIR
import GraftOps

/// An attention reads q, k and v where they were before reshapes, transposes and slices, and writes y in the order
/// in which a transpose would bring it.
///
/// ```
/// %3 = transpose(%0) {permutation=[0, 2, 1, 3]} : f32[N,2,5,4] from "heads"
/// %4, %5 = attention(%3, %1, %2) {scale=0.5} : f32[N,2,5,4], f32[N,2,5] from "attention"
/// ```
/// becomes
/// ```
/// %3, %4 = attention(%0, %1, %2) {scale=0.5, leading=shape [N,2], extents=[5, 5, 4, 4], q_view=shape [0,40,4,8], …}
/// ```
public struct FoldAttentionViews: Pass {
  public static let name = "fold-attention-views"
  public static let summary = "makes movements around an attention part of it"
  /// In training, the gradient reads what was moved.
  public static let modes: Set<PassMode> = [.inference]

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let attention = try graph.operation(node, as: Attention.self), attention.views == nil
      else { continue }
      let extents = try AttentionExtents(node.operands.map { $0.map(graph.type(of:)) }, nil)
      let rank = extents.leading.count + 2
      var (operands, read) = (node.operands, [Node]())
      var views = AttentionViews(
        leading: extents.leading, queries: extents.queries, keys: extents.keys,
        size: extents.size, width: extents.width, views: [], order: Array(0..<rank))
      for index in 0..<3 {
        guard let value = node.operand(index),
          let view = try view(of: value, rank: rank, in: graph)
        else { break }
        operands[index] = view.source
        views.views.append(AttentionView(offset: view.offset, strides: view.strides))
        read += view.nodes
      }
      guard views.views.count == 3 else {
        context.left(graph.title(node), because: "its operands cannot be read as views")
        continue
      }
      let written = try moved(node.results[0], in: graph)
      guard !read.isEmpty || written != nil else { continue }
      views.order = written?.order ?? views.order
      let origins = graph.origins(of: read + [node] + (written?.nodes ?? []))
      let made = try graph.append(
        Attention(scale: attention.scale, views: views), operands, origins: origins, before: id)
      context.did(
        "made \(read.count + (written?.nodes.count ?? 0)) movements views of \(graph.title(node))")
      graph.replaceUses(of: node.results[1], with: made[1])
      if let written, let last = written.nodes.last {
        let old = last.results[0]
        try graph.replace(
          last, with: Reshape(shape: graph.type(of: old).shape), [made[0]],
          absorbing: Array(written.nodes.dropLast()))
      } else {
        graph[made[0]].name = graph[node.results[0]].name
        graph.replaceUses(of: node.results[0], with: made[0])
      }
      graph.removeUnread([node] + read)
    }
  }

  private typealias View = (source: ValueID, offset: Int, strides: [Dimension], nodes: [Node])

  /// Where an operand is read; its last axis must be contiguous.
  private func view(of value: ValueID, rank: Int, in graph: Graph) throws -> View? {
    for chain in [
      try MovementChain.before(value, in: graph), MovementChain(value, in: graph),
    ] {
      guard let chain else { continue }
      let strides = (0..<rank).compactMap { chain.stride(ofAxis: $0) }
      guard strides.count == rank, [0, 1].contains(strides[rank - 1]) else { continue }
      return (chain.source, chain.offset, Array(strides.dropLast()), chain.nodes)
    }
    return nil
  }

  /// The order into which the movements behind `value` bring its axes, if they do nothing else.
  private func moved(_ value: ValueID, in graph: Graph) throws -> (order: [Int], nodes: [Node])? {
    guard var chain = MovementChain(value, in: graph) else { return nil }
    let own = chain.axes
    var found: (order: [Int], nodes: [Node])?
    var last = value
    while let reader = Uses(graph).soleReader(of: last, in: graph), reader.results.count == 1 {
      let operation = try Catalog.operation(of: reader)
      guard operation is any ShapeChange || operation is Transpose,
        try chain.append(reader, to: reader.results[0], in: graph)
      else { break }
      last = reader.results[0]
      let parts = Array(chain.axes.joined())
      let order = parts.compactMap { part in own.firstIndex(of: [part]) }
      let ones = own.indices.filter { own[$0].isEmpty }
      guard order.count == parts.count, Set(order + ones).count == own.count,
        order.count + ones.count == own.count
      else { continue }
      let whole = ones.filter { $0 != own.count - 1 } + order + ones.filter { $0 == own.count - 1 }
      guard whole.last == own.count - 1 else { continue }
      found = (whole, chain.nodes)
    }
    guard let found, found.order != Array(own.indices) else { return nil }
    return found
  }
}
