// Channels that are taken apart, scaled one by one and joined again, as GoogLeNet and Inception do to
// their input.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A join of scaled and shifted slices that together are all channels of one value, in their order,
/// is one scale and shift of that value.
///
/// ```
/// %3 = slice(%0) {axes=[1], starts=[0], extents=[1]} : f32[N,1,8,8] from "red"
/// %4 = scale_shift(%3, %1, %2) : f32[N,1,8,8] from "scaled"
/// %5 = slice(%0) {axes=[1], starts=[1], extents=[2]} : f32[N,2,8,8] from "others"
/// %6 = concat(%4, %5) {axis=1} : f32[N,3,8,8] from "joined"
/// ```
/// becomes
/// ```
/// %3 = scale_shift(%0, %1, %2) : f32[N,3,8,8] from "red", "scaled", "others", "joined"
/// ```
public struct JoinChannels: Pass {
  public static let name = "join-channels"
  public static let summary = "slices scaled one by one and joined again as one scale and shift"
  public static let modes: Set<PassMode> = [.inference]

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let concat = try graph.operation(node, as: Concatenate.self), concat.axis == 1,
        node.operands.count > 1, let join = try join(node, graph, context)
      else { continue }
      let name =
        join.nodes.lazy.flatMap(\.presentOperands)
        .first { graph[$0].parameter != nil }.map(graph.name) ?? "joined"
      let derivation = "joined for \(graph.title(node))"
      guard
        let scale = try graph.addDerived(
          "\(name).scale", join.scale, shape: [join.scale.count], derivation: derivation),
        let shift = try graph.addDerived(
          "\(name).shift", join.shift, shape: [join.shift.count], derivation: derivation)
      else { continue }
      context.did("joined \(join.nodes.count) slices and scales at \(graph.title(node))")
      try graph.replace(node, with: ScaleShift(), [join.x, scale, shift], absorbing: join.nodes)
    }
  }

  private struct Join {
    var x: ValueID
    var scale: [Double] = []
    var shift: [Double] = []
    var nodes: [Node] = []
  }

  private func join(_ node: Node, _ graph: Graph, _ context: PassContext) throws -> Join? {
    let uses = Uses(graph)
    var join: Join?
    for operand in node.presentOperands {
      guard uses.isPrivate(operand), var maker = graph.producer(of: operand) else { return nil }
      var affine: ChannelAffine?
      if maker.opcode != Slice.opcode {
        guard let found = try ChannelAffine(maker, in: graph, context), found.activation == .none,
          uses.isPrivate(found.x), let slice = graph.producer(of: found.x)
        else { return nil }
        affine = found
        maker = slice
      }
      guard let slice = try graph.operation(maker, as: Slice.self), slice.axes == [1],
        slice.steps == [1], let x = maker.operand(0), join == nil || join?.x == x
      else { return nil }
      var current = join ?? Join(x: x)
      let count = slice.extents[0]
      guard slice.starts[0] == current.scale.count else { return nil }
      current.scale += affine?.scale ?? Array(repeating: 1, count: count)
      current.shift += affine?.shift ?? Array(repeating: 0, count: count)
      current.nodes += [maker] + (affine.map { [$0.node] } ?? [])
      join = current
    }
    guard let join, graph.type(of: join.x).dtype == .float32,
      graph.type(of: join.x).shape[1].constant == join.scale.count
    else { return nil }
    return join
  }
}
