// What passes fuse, and what older operator sets had, as several operators that ONNX has. Works on a
// copy of the graph; the numbers stay the same but for rounding.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Rewrites a graph so that every node has an ONNX form of its own.
struct ExportLowering {
  private(set) var graph: Graph

  /// - Throws: ``GraftError`` naming a node whose attributes do not read.
  init(_ graph: Graph) throws {
    self.graph = graph
    for id in graph.nodes.map(\.id) {
      // Read anew: what it reads may have been replaced by now.
      let node = self.graph[id]
      try at(SourceLocation(node: node.origins.first, operatorName: node.opcode.rawValue)) {
        if let value = try lower(node) { replace(node, with: value) }
      }
    }
  }

  /// The value that takes the place of the node's; nil where the node stays.
  private mutating func lower(_ node: Node) throws -> ValueID? {
    guard let x = node.operand(0) else { return nil }
    switch try Catalogue.operation(of: node) {
    case let shuffle as ChannelShuffle: return try lower(shuffle, node, x)
    case let rounding as RoundTo:
      let narrow = try add(Cast(to: rounding.dtype), [x], node)
      return try add(Cast(to: graph.type(of: x).dtype), [narrow], node)
    case is Silu: return try apply(.silu, to: x, node)
    case let softmax as Softmax where softmax.flattens:
      return try flattened(Softmax(axis: softmax.axis, flattens: false), softmax.axis, node, x)
    case let softmax as LogSoftmax where softmax.flattens:
      return try flattened(LogSoftmax(axis: softmax.axis, flattens: false), softmax.axis, node, x)
    case is ScaleShift: return try lowerScaleShift(node, x)
    default: return try withoutFusion(node)
    }
  }

  private mutating func replace(_ node: Node, with value: ValueID) {
    guard let result = node.results.first else { return }
    let name = graph[result].name
    graph.replaceUses(of: result, with: value)
    graph.remove(node.id)
    graph[value].name = name
  }

  /// Adds an operator of one result before `node`.
  private mutating func add(
    _ operation: any Operator, _ operands: [ValueID?], _ node: Node
  ) throws -> ValueID {
    let results = try graph.append(
      operation, operands, origins: node.origins, before: node.id)
    guard let result = results.first else {
      throw GraftError(.inconsistency, "an operator of one result made none")
    }
    return result
  }

  // MARK: Fusion undone

  /// A node without the residual and the activation that passes put into it, and those after it.
  private mutating func withoutFusion(_ node: Node) throws -> ValueID? {
    let activation = try node.attributes.activation()
    let position = [Convolution.opcode: 3, BatchNormalization.opcode: 5][node.opcode]
    let residual = position.flatMap { node.operand($0) }
    guard activation != .none || residual != nil,
      let type = Catalogue.type(of: node.opcode)
    else { return nil }
    var attributes = node.attributes
    attributes["activation"] = nil
    attributes["activation_parameters"] = nil
    let operands = Array(node.operands.prefix(position ?? node.operands.count))
    var value = try add(try type.init(attributes: attributes), operands, node)
    if let residual { value = try add(Add(), [value, residual], node) }
    return try apply(activation, to: value, node)
  }

  private mutating func apply(
    _ activation: Activation, to x: ValueID, _ node: Node
  ) throws -> ValueID {
    switch activation {
    case .none: return x
    case .relu: return try add(Relu(), [x], node)
    case .clip(let low, let high): return try add(Clip(low: low, high: high), [x], node)
    case .leakyRelu(let alpha): return try add(LeakyRelu(alpha: alpha), [x], node)
    case .sigmoid: return try add(Sigmoid(), [x], node)
    case .tanh: return try add(Tanh(), [x], node)
    case .hardSigmoid(let alpha, let beta):
      return try add(HardSigmoid(alpha: alpha, beta: beta), [x], node)
    case .hardSwish: return try add(HardSwish(), [x], node)
    case .silu: return try add(Multiply(), [x, try add(Sigmoid(), [x], node)], node)
    }
  }

  /// x · scale + shift with both broadcast along all axes behind the channels.
  private mutating func lowerScaleShift(_ node: Node, _ x: ValueID) throws -> ValueID {
    let behind = Array(1..<max(1, graph.type(of: x).rank - 1))
    var channelwise: [ValueID] = []
    for operand in node.presentOperands.dropFirst() {
      let value = behind.isEmpty ? operand : try add(Unsqueeze(axes: behind), [operand], node)
      channelwise.append(value)
    }
    guard channelwise.count == 2 else {
      throw GraftError(.invalidGraph, "\(channelwise.count + 1) operands, expected 3")
    }
    let scaled = try add(Multiply(), [x, channelwise[0]], node)
    let shifted = try add(Add(), [scaled, channelwise[1]], node)
    return try apply(try node.attributes.activation(), to: shifted, node)
  }

  // MARK: By way of other shapes

  /// A normalisation over all axes from `axis` on, as one over a single axis.
  private mutating func flattened(
    _ operation: any Operator, _ axis: Int, _ node: Node, _ x: ValueID
  ) throws -> ValueID {
    let shape = graph.type(of: x).shape
    guard let product = TensorShape(Array(shape.dimensions[axis...])).elementCount else {
      throw GraftError(.invalidGraph, "the shape \(shape) has too many elements")
    }
    let flat = TensorShape(Array(shape.dimensions[..<axis]) + [product])
    let matrix = try add(Reshape(shape: flat), [x], node)
    return try add(Reshape(shape: shape), [try add(operation, [matrix], node)], node)
  }

  private mutating func lower(
    _ shuffle: ChannelShuffle, _ node: Node, _ x: ValueID
  ) throws -> ValueID {
    let shape = graph.type(of: x).shape
    guard shape.rank >= 2, let channels = shape[1].constant, shuffle.groups > 0 else {
      throw GraftError(.invalidGraph, "a tensor of shape \(shape) has no constant channels")
    }
    let split = TensorShape(
      [shape[0], Dimension(shuffle.groups), Dimension(channels / shuffle.groups)]
        + shape.dimensions[2...])
    let grouped = try add(Reshape(shape: split), [x], node)
    let order = [0, 2, 1] + Array(3..<(shape.rank + 1))
    let swapped = try add(Transpose(permutation: order), [grouped], node)
    return try add(Reshape(shape: shape), [swapped], node)
  }
}
