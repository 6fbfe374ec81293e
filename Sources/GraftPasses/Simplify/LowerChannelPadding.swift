// The parameter-free shortcut of ResNets (option A of He et al. 2016): every other pixel, and zeros for new
// channels.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Zero padding of the channels of an image, possibly after subsampling, becomes a 1×1 convolution with
/// weights of ones and zeros: it supports blocked layouts, which a strided slice and an uneven pad do not,
/// and can be fused with the following addition.
///
/// ```
/// %1 = slice(%0) {axes=[2], starts=[0], extents=[4], steps=[2]} : f32[N,8,4,8] from "rows"
/// %2 = slice(%1) {axes=[3], starts=[0], extents=[4], steps=[2]} : f32[N,8,4,4] from "columns"
/// %3 = pad(%2) {pads=[0, 4, 0, 0, 0, 4, 0, 0]} : f32[N,16,4,4] from "pad"
/// ```
/// becomes
/// ```
/// %2 = convolution(%0, %1) {strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,16,4,4] from "rows", "columns", "pad"
/// ```
/// Every sum has one product with 1 and zeros otherwise, so finite elements keep their bits.
public struct LowerChannelPadding: Pass {
  public static let name = "lower-channel-padding"
  public static let summary = "turns subsampling with zero-padded channels into a 1×1 convolution"

  /// The maximum number of weights; more cost more than the conversions that they save.
  static let largestWeightCount = 1 << 18
  /// The maximum extent of images.
  static let largestStride = 1 << 16

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let pad = try graph.operation(node, as: Pad.self), let padded = node.operand(0),
        let pads = channelPads(pad), graph.type(of: padded).dtype == .float32,
        let channels = graph.type(of: padded).shape[1].constant,
        graph.type(of: padded).shape.dimensions[2...].allSatisfy({ ($0.constant ?? 0) > 0 })
      else { continue }
      let outputs = channels + pads.before + pads.after
      guard channels > 0, outputs <= Self.largestWeightCount / channels else {
        context.left(graph.title(node), because: "\(outputs) × \(channels) weights are too many")
        continue
      }
      let source = try subsampling(of: padded, in: graph)
      var weights = Array(repeating: 0.0, count: outputs * channels)
      for channel in 0..<channels {
        weights[(pads.before + channel) * channels + channel] = 1
      }
      guard
        let w = try graph.addDerived(
          "channel_padding", weights, shape: [outputs, channels, 1, 1],
          derivation: "ones and zeros for \(graph.title(node))")
      else { continue }
      let titles = (source.nodes + [node]).map(graph.title).joined(separator: ", ")
      context.did("made \(titles) a convolution")
      try graph.replace(
        node, with: Convolution(strides: source.strides), [source.x, w], absorbing: source.nodes)
    }
  }

  private func channelPads(_ pad: Pad) -> (before: Int, after: Int)? {
    guard pad.mode == .constant, pad.value.real == 0, pad.pads.count == 8,
      [0, 2, 3, 4, 6, 7].allSatisfy({ pad.pads[$0] == 0 }), pad.pads[1] >= 0, pad.pads[5] >= 0
    else { return nil }
    return (pad.pads[1], pad.pads[5])
  }

  /// The image of which `value` is every n-th row and column, through slices without other readers.
  private func subsampling(
    of value: ValueID, in graph: Graph
  ) throws -> (x: ValueID, strides: [Int], nodes: [Node]) {
    let uses = Uses(graph)
    var (x, strides, nodes) = (value, [1, 1], [Node]())
    while uses.isPrivate(x), let found = try graph.producer(of: x, as: Slice.self),
      let source = found.node.operand(0)
    {
      let slice = found.operation
      for (index, axis) in slice.axes.enumerated() {
        guard axis >= 2, slice.starts[index] == 0,
          (1...Self.largestStride).contains(slice.steps[index]),
          strides[axis - 2] * slice.steps[index] <= Self.largestStride,
          let extent = graph.type(of: source).shape[axis].constant,
          slice.extents[index] == (extent - 1) / slice.steps[index] + 1
        else { return (x, strides, nodes) }
      }
      // The strides of successive slices multiply only if each starts at the first pixel.
      for (index, axis) in slice.axes.enumerated() { strides[axis - 2] *= slice.steps[index] }
      nodes.insert(found.node, at: 0)
      x = source
    }
    return (x, strides, nodes)
  }
}
