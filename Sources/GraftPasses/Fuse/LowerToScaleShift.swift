// Lowers normalizations and per-channel arithmetic that no convolution absorbed to scale_shift.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Remaining batch normalizations, and additions and multiplications of per-channel constants, become
/// `scale_shift`; two in a row become one.
///
/// ```
/// %5 = batch_normalization(%0, %1, %2, %3, %4) {epsilon=1e-05} : f32[N,8,8,8] from "bn"
/// ```
/// becomes
/// ```
/// %3 = scale_shift(%0, %1, %2) : f32[N,8,8,8] from "bn"
/// ```
public struct LowerToScaleShift: Pass {
  public static let name = "lower-to-scale-shift"
  public static let summary =
    "merges remaining normalizations and constant per-channel arithmetic into one"
  public static let modes: Set<PassMode> = [.inference]

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      guard let outer = try ChannelAffine(graph[id], in: graph, context) else { continue }
      let inner = try graph.producer(of: outer.x).flatMap {
        try ChannelAffine($0, in: graph, context)
      }
      let derivation = "lowered \(outer.node.opcode) \(graph.title(outer.node))"
      if let inner, inner.activation == .none, Uses(graph).isPrivate(outer.x) {
        let scale = zip(inner.scale, outer.scale).map { $0 * $1 }
        let shift = outer.shift.indices.map { inner.shift[$0] * outer.scale[$0] + outer.shift[$0] }
        guard
          try lower(outer, x: inner.x, scale, shift, [inner.node], derivation, &graph)
        else { continue }
        context.did("merged \(graph.title(inner.node)) and \(graph.title(outer.node))")
      } else if outer.node.opcode != ScaleShift.opcode {
        guard try lower(outer, x: outer.x, outer.scale, outer.shift, [], derivation, &graph)
        else {
          context.left(graph.title(outer.node), because: FoldBatchNormalization.notConstant)
          continue
        }
        context.did("made \(graph.title(outer.node)) a scale_shift")
      }
    }
  }

  private func lower(
    _ affine: ChannelAffine, x: ValueID, _ scale: [Double], _ shift: [Double],
    _ absorbed: [Node], _ derivation: String, _ graph: inout Graph
  ) throws -> Bool {
    let base =
      affine.node.presentOperands.first { graph[$0].parameter != nil }.map(graph.name) ?? "constant"
    guard
      let scales = try graph.addDerived(
        "\(base).scale", scale, shape: [scale.count], derivation: derivation)
    else { return false }
    guard
      let shifts = try graph.addDerived(
        "\(base).shift", shift, shape: [shift.count], derivation: derivation)
    else {
      graph.removeParameter(scales)
      return false
    }
    try graph.replace(
      affine.node, with: ScaleShift(activation: affine.activation), [x, scales, shifts],
      absorbing: absorbed)
    return true
  }
}
