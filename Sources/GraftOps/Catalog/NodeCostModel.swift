// What passes ask about the time that kernels take. The kernels, and so the answers, are GraftCodegen's.

import GraftIR

/// Estimates of how long nodes take, by which passes choose between forms of a graph.
///
/// Times are for one image, in vector multiply-adds: a core does as many of them in a second whatever the
/// target, so arithmetic, transforms and memory compare by numbers that hold everywhere.
public protocol NodeCostModel: Sendable {
  /// Float32 elements of one vector, which are the channels that a blocked layout keeps side by side.
  var lanes: Int { get }

  /// The time of the fastest kernel for `node` where its values lie in memory as `layouts` says, and those
  /// that it does not name as their types say; nil if no kernel takes these layouts.
  func time(of node: Node, in graph: Graph, layouts: [ValueID: Layout]) -> Double?

  /// The time that bringing a value of `type` from one layout into another takes, borders left out.
  func conversionTime(of type: TensorType, from source: Layout, to target: Layout) -> Double
}
