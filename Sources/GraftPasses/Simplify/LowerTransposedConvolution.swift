// Transposed convolutions as convolutions of their phases, so that the kernels of convolutions compute them.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A transposed convolution becomes a convolution that computes every n-th row and column of the result as images of
/// their own (its phases), and the interleaving of these. It multiplies nothing by the zeros that a transposed
/// convolution has between the pixels of its operand; only where the kernel's extent is no multiple of the stride
/// some taps are zero. Of small images, where what ``InterleavePhases`` cuts off is a large part, every phase is a
/// convolution of its own that computes just what is left; of a single pixel the whole is a matrix product.
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
      if try lowerToProduct(node, operation, &graph, context) {
        context.did("made \(title), whose image is one pixel, a matrix product")
      } else if try lowerToParts(node, operation, &graph, context) {
        context.did(
          "made \(title) \(operation.strides.reduce(1, *)) convolutions, each of the pixels of one phase"
        )
      } else {
        try lower(node, operation, &graph, context)
        context.did("made \(title) a convolution of \(operation.strides.reduce(1, *)) phases")
      }
    }
  }

  /// Every pixel of the result is the product of the image's only pixel and one tap.
  /// - Returns: false, with the graph unchanged, if there are more pixels, or the result is not as large as the kernel.
  private func lowerToProduct(
    _ node: Node, _ operation: TransposedConvolution, _ graph: inout Graph, _ context: PassContext
  ) throws -> Bool {
    guard let x = node.operand(0), let w = node.operand(1), let result = node.results.first,
      context.isConstant(w, in: graph), operation.groups == 1, operation.dilations == [1, 1],
      operation.pads.allSatisfy({ $0 == 0 }), let extents = graph.type(of: w).shape.constants
    else { return false }
    let (image, output) = (graph.type(of: x).shape, graph.type(of: result).shape)
    guard image[2] == 1, image[3] == 1, output[2] == Dimension(extents[2]),
      output[3] == Dimension(extents[3]), output[1] == Dimension(extents[1])
    else { return false }
    let columns = extents[1...].reduce(1, *)
    let rows = try append(
      Reshape(shape: [image[0], Dimension(extents[0])]), node, x, &graph)
    let matrix = try append(Reshape(shape: TensorShape([extents[0], columns])), node, w, &graph)
    var operands = [rows, matrix]
    if let bias = node.operand(2) {
      operands.append(
        try repeated(bias, as: [extents[1], extents[2] * extents[3], 1], node, &graph))
    }
    let products = try graph.append(
      Gemm(activation: operation.activation), operands, origins: node.origins, before: node.id)[0]
    try graph.replace(node, with: Reshape(shape: output), [products])
    return true
  }

  /// The share of the pixels of all phases that must be cut off for each phase to be a convolution of its own.
  private static let leastCut = 0.2

  /// One convolution for each phase, where a phase fills whole blocks of channels.
  /// - Returns: false, with the graph unchanged, if too little would be gained, or phases have unlike sizes.
  private func lowerToParts(
    _ node: Node, _ operation: TransposedConvolution, _ graph: inout Graph, _ context: PassContext
  ) throws -> Bool {
    guard let x = node.operand(0), let w = node.operand(1), let result = node.results.first,
      context.isConstant(w, in: graph), operation.groups == 1,
      let image = TensorShape(Array(graph.type(of: x).shape.dimensions[2...])).constants,
      let output = TensorShape(Array(graph.type(of: result).shape.dimensions[1...])).constants,
      output[0].isMultiple(of: 16)
    else { return false }
    let phases = PhaseWeights(strides: operation.strides, dilations: operation.dilations)
    let kernel = phases.kernel(try operation.window(graph.type(of: w)).kernel)
    // Of each axis and each remainder of the result's rows: the phase, and the pads of its convolution.
    var parts: [[(phase: Int, begin: Int, end: Int)]] = []
    var kept = 1.0
    for axis in 0..<2 {
      let (stride, pad, size) = (operation.strides[axis], operation.pads[axis], output[axis + 1])
      guard size.isMultiple(of: stride) else { return false }
      let first = min(pad / stride, kernel[axis] - 1)
      let whole = (pad + size + stride - 1) / stride - first
      kept *= Double(size / stride) / Double(whole)
      parts.append(
        (0..<stride).map { remainder in
          let start = (remainder + pad) / stride
          return (
            (remainder + pad) % stride, kernel[axis] - 1 - start,
            start + size / stride - image[axis]
          )
        })
    }
    guard 1 - kept >= Self.leastCut,
      parts.joined().allSatisfy({ $0.begin >= 0 && $0.end >= 0 })
    else { return false }

    let weights = try append(phases, node, w, &graph)
    var (slices, images) = ([NodeID](), [ValueID]())
    for row in parts[0] {
      for column in parts[1] {
        let place = row.phase * operation.strides[1] + column.phase
        let own = try append(
          Slice(
            axes: [0], starts: [place * output[0]], extents: [output[0]], steps: [1]), node,
          weights, &graph)
        slices += graph.producer(of: own).map { [$0.id] } ?? []
        images.append(
          try graph.append(
            Convolution(
              pads: [row.begin, column.begin, row.end, column.end],
              activation: operation.activation), [x, own, node.operand(2)], origins: node.origins,
            before: node.id)[0])
      }
    }
    if let phaseNode = graph.producer(of: weights) {
      try graph.replaceByConstants(
        phaseNode, named: "\(graph.name(w)).phases",
        derivation: "phases of \(graph.title(node))")
    }
    for slice in slices {
      try graph.replaceByConstants(
        graph[slice], named: "\(graph.name(w)).phase",
        derivation: "a phase of \(graph.title(node))")
    }
    let joined = try graph.append(
      Concatenate(axis: 1), images, origins: node.origins, before: node.id)[0]
    try graph.replace(
      node,
      with: InterleavePhases(strides: operation.strides, extents: Array(output[1...])), [joined])
    return true
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
      let groups = operation.groups
      operands.append(try repeated(bias, as: [groups, count, channels / groups], node, &graph))
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

  /// A vector of `extents[0]` · `extents[2]` elements as one in which each of the `extents[0]` parts stands
  /// `extents[1]` times.
  private func repeated(
    _ bias: ValueID, as extents: [Int], _ node: Node, _ graph: inout Graph
  ) throws -> ValueID {
    let parts = try append(
      Reshape(shape: TensorShape([extents[0], 1, extents[2]])), node, bias, &graph)
    let all = try append(Expand(shape: TensorShape(extents)), node, parts, &graph)
    return try append(
      Reshape(shape: TensorShape([extents.reduce(1, *)])), node, all, &graph)
  }

  private func append(
    _ operation: any Operator, _ node: Node, _ operand: ValueID, _ graph: inout Graph
  ) throws -> ValueID {
    try graph.append(operation, [operand], origins: node.origins, before: node.id)[0]
  }
}
