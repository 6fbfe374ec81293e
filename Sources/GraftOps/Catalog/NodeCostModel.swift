// The interface of the kernels' cost model for passes. GraftCodegen implements it.

import GraftIR

/// Estimates of the time of nodes, with which passes choose between alternatives.
///
/// Times are for one image, in vector multiply-adds, whose rate per core is similar on all targets, so that
/// arithmetic, transforms and memory accesses can be compared by target-independent numbers.
public protocol NodeCostModel: Sendable {
  /// Float32 lanes of a vector, which is also the channel block of blocked layouts.
  var lanes: Int { get }

  /// The time of the fastest kernel for `node` with the given `layouts`, and the layouts of their types for
  /// other values; nil if no kernel supports them.
  func time(of node: Node, in graph: Graph, layouts: [ValueID: Layout]) -> Double?

  /// The time of converting a value of `type` from one layout to another, without borders.
  func conversionTime(of type: TensorType, from source: Layout, to target: Layout) -> Double
}
