// The channel shuffle, which exporters write as reshape, transpose, reshape.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Splitting channels into groups, transposing the two axes and merging them becomes one operator, which
/// supports blocked layouts, unlike rank-5 tensors.
///
/// ```
/// %1 = reshape(%0) {shape=shape [N,2,4,8,8]} : f32[N,2,4,8,8] from "a"
/// %2 = transpose(%1) {permutation=[0, 2, 1, 3, 4]} : f32[N,4,2,8,8] from "b"
/// %3 = reshape(%2) {shape=shape [N,8,8,8]} : f32[N,8,8,8] from "c"
/// ```
/// becomes
/// ```
/// %1 = channel_shuffle(%0) {groups=2} : f32[N,8,8,8] from "a", "b", "c"
/// ```
public struct RecognizeChannelShuffle: Pass {
  public static let name = "recognize-channel-shuffle"
  public static let summary = "replaces reshape, transpose, reshape by one channel shuffle"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard node.opcode == Reshape.opcode,
        let transpose = try graph.producer(of: node.operand(0), as: Transpose.self),
        transpose.operation.permutation == [0, 2, 1, 3, 4],
        let grouping = try graph.producer(of: transpose.node.operand(0), as: Reshape.self),
        let x = grouping.node.operand(0)
      else { continue }
      let shape = graph.type(of: x).shape
      let grouped = grouping.operation.shape
      let nodes = [grouping.node, transpose.node]
      let what = (nodes + [node]).map(graph.title).joined(separator: ", ")
      guard shape.rank == 4, graph.type(of: node.results[0]).shape == shape,
        grouped[0] == shape[0], grouped[3] == shape[2], grouped[4] == shape[3],
        let groups = grouped[1].constant
      else {
        context.left(what, because: "the transposed axes are not groups of channels")
        continue
      }
      guard nodes.allSatisfy({ Uses(graph).isPrivate($0.results[0]) }) else {
        context.left(what, because: "an intermediate value has other readers")
        continue
      }
      context.did("recognized a shuffle of \(groups) groups in \(what)")
      try graph.replace(node, with: ChannelShuffle(groups: groups), [x], absorbing: nodes)
    }
  }
}
