// Transposed convolutions as convolutions of their phases, so that the kernels of convolutions compute them.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A transposed convolution becomes a convolution that computes every n-th row and column of the result as images of
/// their own (its phases), and the interleaving of these. It multiplies nothing by the zeros that a transposed
/// convolution has between the pixels of its operand; only where the kernel's extent is no multiple of the stride
/// some taps are zero.
///
/// ```
/// %2 = convolution_transpose(%0, %1) {strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,8,16,16] from "up"
/// ```
/// with weights [16, 8, 2, 2] becomes
/// ```
/// %3 = convolution(%0, %2) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,32,8,8] from "up"
/// %4 = interleave_phases(%3) {strides=[2, 2], extents=[16, 16]} : f32[N,8,16,16] from "up"
/// ```
public struct LowerTransposedConvolution: Pass {
  public static let name = "lower-transposed-convolution"
  public static let summary = "turns transposed convolutions into convolutions of their phases"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs {
      let node = graph[id]
      guard let operation = try graph.operation(node, as: TransposedConvolution.self) else {
        continue
      }
      let title = graph.title(node)
      try lower(node, operation, &graph, context)
      context.did("made \(title) a convolution of \(operation.strides.reduce(1, *)) phases")
    }
  }

  private func lower(
    _ node: Node, _ operation: TransposedConvolution, _ graph: inout Graph, _ context: PassContext
  ) throws {
    guard let x = node.operand(0), let w = node.operand(1), let result = node.results.first,
      let channels = graph.type(of: result).shape[1].constant
    else { throw GraftError(.inconsistency, "a transposed convolution without operands") }
    let (image, output) = (graph.type(of: x).shape, graph.type(of: result).shape)
    let phases = PhaseWeights(
      strides: operation.strides, dilations: operation.dilations, groups: operation.groups)
    let kernel = phases.kernel(try operation.window(graph.type(of: w)).kernel)
    let count = operation.strides[0] * operation.strides[1]

    var convolution = Convolution(groups: operation.groups, activation: operation.activation)
    var (offsets, extents) = ([0, 0], [0, 0])
    for axis in 0..<2 {
      guard let height = image[axis + 2].constant, let size = output[axis + 2].constant else {
        throw GraftError(.inconsistency, "an image without a constant size")
      }
      // The rows of a phase that the result begins and ends in.
      let (stride, pad) = (operation.strides[axis], operation.pads[axis])
      let first = min(pad / stride, kernel[axis] - 1)
      let end = (pad + size + stride - 1) / stride
      convolution.pads[axis] = kernel[axis] - 1 - first
      convolution.pads[axis + 2] = max(0, end - height)
      (offsets[axis], extents[axis]) = (pad - first * stride, size)
    }

    let weights = try append(phases, node, w, &graph)
    let phaseNode = graph.producer(of: weights)
    var operands: [ValueID?] = [x, weights]
    if let bias = node.operand(2) {
      let (groups, each) = (operation.groups, channels / operation.groups)
      let split = try append(
        Reshape(shape: TensorShape([groups, 1, each])), node, bias, &graph)
      let repeated = try append(
        Expand(shape: TensorShape([groups, count, each])), node, split, &graph)
      operands.append(
        try append(Reshape(shape: TensorShape([channels * count])), node, repeated, &graph))
    }
    let images = try graph.append(
      convolution, operands, origins: node.origins, before: node.id)[0]
    // Constant folding leaves what has more elements than it was computed from.
    if let phaseNode, context.isConstant(w, in: graph) {
      try graph.replaceByConstants(
        phaseNode, named: "\(graph.name(w)).phases",
        derivation: "phases of \(graph.title(node))")
    }
    guard count > 1 || graph.type(of: images).shape != output else {
      return graph.bypass(node, with: images)
    }
    try graph.replace(
      node,
      with: InterleavePhases(
        strides: operation.strides, offsets: offsets, extents: extents, groups: operation.groups),
      [images])
  }

  private func append(
    _ operation: any Operator, _ node: Node, _ operand: ValueID, _ graph: inout Graph
  ) throws -> ValueID {
    try graph.append(operation, [operand], origins: node.origins, before: node.id)[0]
  }
}
