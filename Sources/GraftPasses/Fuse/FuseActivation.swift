// Fuses activations into the preceding node.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A fusible activation (``ActivationFunction``) that is the only reader of an operator that supports it
/// (``ActivationFusing``: a convolution, normalization, gemm, scale_shift or binary operator) becomes its
/// activation.
///
/// ```
/// %2 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv"
/// %3 = relu(%2) : f32[N,8,8,8] from "relu"
/// ```
/// becomes
/// ```
/// %2 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1], activation="relu"} : … from "conv", "relu"
/// ```
public struct FuseActivation: Pass {
  public static let name = "fuse-activation"
  public static let summary = "fuses activations into the preceding node"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let x = node.operand(0), let producer = graph.producer(of: x),
        let function = try Catalog.operation(of: node) as? any UnaryElementwise,
        let activation = function.fusedActivation,
        var fused = try Catalog.operation(of: producer) as? any ActivationFusing
      else { continue }
      let what = "\(graph.title(node)) after \(graph.title(producer))"
      // Kernels of other types apply no activation.
      guard graph.type(of: x).dtype == .float32, producer.results.count == 1 else { continue }
      if let obstacle = Uses(graph).obstacle(x) {
        context.left(what, because: obstacle)
      } else if fused.activation != .none {
        context.left(what, because: "there already is an activation")
      } else {
        fused.activation = activation
        context.did("fused \(graph.title(node)) into \(graph.title(producer))")
        try graph.replace(node, with: fused, producer.operands, absorbing: [producer])
      }
    }
  }
}
