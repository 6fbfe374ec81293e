// A per-channel multiplication and addition in any form: a batch normalization, a scale_shift, or an Add,
// Sub, Mul or Div with constants. Passes fold it into the producer or the reader of the value.

import GraftDiagnostics
import GraftIR
import GraftOps

/// y = activation(x · scale[c] + shift[c]) with c on axis 1 of x [batch, channels, …], in float64.
struct ChannelAffine {
  let node: Node
  let x: ValueID
  let scale: [Double]
  let shift: [Double]
  let activation: Activation

  /// Recognizes a node.
  /// - Returns: nil if the node is something else, or its constants may not be computed with yet.
  init?(_ node: Node, in graph: Graph, _ context: PassContext) throws {
    guard node.results.count == 1, graph.type(of: node.results[0]).dtype == .float32 else {
      return nil
    }
    let operation = try Catalog.operation(of: node)
    if let channelwise = operation as? any ChannelwiseOperator {
      guard let x = node.operand(0),
        let vectors = Self.vectors(node.operands.dropFirst(), graph, context),
        let (scale, shift) = channelwise.affine(vectors)
      else { return nil }
      self.init(node, x, scale, shift, channelwise.activation)
    } else if let binary = operation as? any BinaryElementwise {
      self.init(binary, node, graph, context)
    } else {
      return nil
    }
  }

  private init(
    _ node: Node, _ x: ValueID, _ scale: [Double], _ shift: [Double], _ activation: Activation
  ) {
    self.node = node
    self.x = x
    self.scale = scale
    self.shift = shift
    self.activation = activation
  }

  /// A binary operator with a per-channel constant as one operand.
  private init?(
    _ binary: any BinaryElementwise, _ node: Node, _ graph: Graph, _ context: PassContext
  ) {
    guard let left = node.operand(0), let right = node.operand(1) else { return nil }
    for (x, constant, isConstantLeft) in [(left, right, false), (right, left, true)] {
      guard !context.isConstant(x, in: graph),
        let k = Self.perChannel(constant, against: x, node, graph, context)
      else { continue }
      let position = isConstantLeft ? 0 : 1
      let factors = k.compactMap { type(of: binary).affine(with: $0, at: position) }
      guard factors.count == k.count else { return nil }
      self.init(node, x, factors.map(\.scale), factors.map(\.shift), binary.activation)
      return
    }
    return nil
  }

  private static func vectors(
    _ operands: ArraySlice<ValueID?>, _ graph: Graph, _ context: PassContext
  ) -> [[Double]]? {
    var result: [[Double]] = []
    for operand in operands {
      guard let operand, context.isConstant(operand, in: graph),
        let data = graph[operand].parameter?.data
      else { return nil }
      result.append(data.doubles())
    }
    return result
  }

  /// The elements of `constant`, one for each channel of `x`, if it broadcasts along axis 1 alone.
  private static func perChannel(
    _ constant: ValueID, against x: ValueID, _ node: Node, _ graph: Graph, _ context: PassContext
  ) -> [Double]? {
    let type = graph.type(of: x)
    guard type.rank >= 2, let channels = type.shape[1].constant,
      graph.type(of: node.results[0]).shape == type.shape,
      context.isConstant(constant, in: graph), let data = graph[constant].parameter?.data,
      data.shape.count <= type.rank
    else { return nil }
    let extents = Array(repeating: 1, count: type.rank - data.shape.count) + data.shape
    for (axis, extent) in extents.enumerated() where extent != 1 {
      guard axis == 1 else { return nil }
    }
    let elements = data.doubles()
    if elements.count == 1 { return Array(repeating: elements[0], count: channels) }
    return elements.count == channels ? elements : nil
  }
}
