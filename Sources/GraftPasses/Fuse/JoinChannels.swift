// Channels that are sliced, scaled separately and concatenated, as GoogLeNet and Inception do with their
// input.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A concatenation of scaled and shifted slices that together are all channels of one value, in order,
/// becomes one scale and shift of that value.
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
  public static let summary =
    "replaces slices that are scaled separately and concatenated by one scale and shift"
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
      guard let (maker, affines) = try affines(ending: operand, graph, uses, context),
        let slice = try graph.operation(maker, as: Slice.self), slice.axes == [1],
        slice.steps == [1], let x = maker.operand(0), join == nil || join?.x == x
      else { return nil }
      var current = join ?? Join(x: x)
      let count = slice.extents[0]
      guard slice.starts[0] == current.scale.count else { return nil }
      var (scale, shift) = (
        Array(repeating: 1.0, count: count), Array(repeating: 0.0, count: count)
      )
      for affine in affines {
        for channel in 0..<count {
          scale[channel] *= affine.scale[channel]
          shift[channel] = shift[channel] * affine.scale[channel] + affine.shift[channel]
        }
      }
      current.scale += scale
      current.shift += shift
      current.nodes += [maker] + affines.map(\.node)
      join = current
    }
    guard let join, graph.type(of: join.x).dtype == .float32,
      graph.type(of: join.x).shape[1].constant == join.scale.count
    else { return nil }
    return join
  }

  /// The node before a chain of scales and shifts that ends in `value`, and the chain in execution order; nil
  /// if an intermediate value has other readers.
  private func affines(
    ending value: ValueID, _ graph: Graph, _ uses: Uses, _ context: PassContext
  ) throws -> (maker: Node, affines: [ChannelAffine])? {
    var (value, affines) = (value, [ChannelAffine]())
    while uses.isPrivate(value), let maker = graph.producer(of: value) {
      guard let affine = try ChannelAffine(maker, in: graph, context), affine.activation == .none
      else { return (maker, affines.reversed()) }
      affines.append(affine)
      value = affine.x
    }
    return nil
  }
}
