// The head of a network: finding it, putting another one in its place, taking a final softmax off.

import GraftDiagnostics
import GraftIR
import GraftOps

/// What becomes of the head.
public enum HeadReplacement: Hashable, Sendable {
  /// One layer like the old one, for other classes.
  case linear
  /// A hidden layer of this width with a relu before it.
  case mlp(hidden: Int)
  /// The head as it is, with its weights.
  case keep

  /// Reads `linear`, `mlp:K` or `keep`.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for anything else.
  public init(_ text: String) throws {
    switch text {
    case "linear": self = .linear
    case "keep": self = .keep
    default:
      guard text.hasPrefix("mlp:"), let hidden = Int(text.dropFirst(4)),
        (1...65536).contains(hidden)
      else {
        throw GraftError(
          .invalidArgument,
          "the head \(text.quotedForDisplay) must be linear, mlp:K with K from 1 to 65536, or keep")
      }
      self = .mlp(hidden: hidden)
    }
  }
}

extension HeadReplacement: CustomStringConvertible {
  /// The text that makes this choice on the command line.
  public var description: String {
    switch self {
    case .linear: "linear"
    case .mlp(let hidden): "mlp:\(hidden)"
    case .keep: "keep"
    }
  }
}

/// The last operator with weights on every path to the output.
public struct Head {
  public let node: Node
  /// The number of classes it has now.
  public let classes: Int
  /// The width of what it reads: the inputs of a gemm, the channels of a 1×1 convolution.
  public let features: Int

  /// Whether a node is an operator with weights: a convolution, a gemm or a matmul.
  public static func hasWeights(_ node: Node) -> Bool {
    [Convolution.opcode, Gemm.opcode, MatrixMultiply.opcode].contains(node.opcode)
  }

  /// - Throws: ``GraftError`` of kind `unsupported` where there is no such operator or more than one.
  public init(of graph: Graph) throws {
    guard let output = graph.outputs.first, graph.outputs.count == 1 else {
      throw GraftError(
        .unsupported, "the network has \(graph.outputs.count) outputs; fine-tuning takes one")
    }
    // Walk up from the output while there is one way to go.
    var value = output.value
    while true {
      guard let node = graph.producer(of: value) else {
        throw GraftError(.unsupported, "the network has no operator with weights before its output")
      }
      if Self.hasWeights(node) {
        try self.init(node, in: graph)
        return
      }
      let computed = node.presentOperands.filter { graph[$0].parameter == nil }
      guard computed.count == 1 else {
        throw GraftError(
          .unsupported,
          "\(node.opcode) joins several values after the last weights, so no operator is the head",
          at: graph.location(of: node))
      }
      value = computed[0]
    }
  }

  private init(_ node: Node, in graph: Graph) throws {
    guard let weight = node.operand(1), graph[weight].parameter != nil,
      let shape = graph.type(of: weight).shape.constants
    else {
      throw GraftError(
        .unsupported, "the head has no weights of its own", at: graph.location(of: node))
    }
    self.node = node
    switch try Catalogue.operation(of: node) {
    case let gemm as Gemm where !gemm.transposesA && shape.count == 2:
      (classes, features) =
        gemm.transposesB ? (shape[0], shape[1]) : (shape[1], shape[0])
    case is MatrixMultiply where shape.count == 2: (classes, features) = (shape[1], shape[0])
    case let convolution as Convolution
    where convolution.groups == 1 && shape[2...] == [1, 1]:
      (classes, features) = (shape[0], shape[1])
    default:
      throw GraftError(
        .unsupported, "the head must be a gemm, a matmul or a 1x1 convolution",
        at: graph.location(of: node))
    }
  }
}

extension Graph {
  /// The graph with another head for `classes` classes, its weights as PyTorch initialises them.
  ///
  /// A gemm or matmul becomes a gemm, a 1×1 convolution a 1×1 convolution; what follows is kept, and
  /// reshapes that name the old number of classes name the new one.
  /// - Throws: ``GraftError`` where what follows the head does not take another number of classes.
  public func replacingHead(
    _ head: Head, by replacement: HeadReplacement, classes: Int, seed: UInt64
  ) throws -> Graph {
    guard replacement != .keep else { return self }
    var copier = GraphCopier(from: self, named: name)
    for input in inputs { copier.addInput(self[input].name ?? "", for: input) }
    var isAfter = false
    for node in nodes {
      if node.id == head.node.id {
        let x = try copier.value(for: try operand(0, of: node))
        let made = try copier.build {
          try $0.appendHead(
            replacement, x, like: node, of: self, head, classes: classes, seed: seed)
        }
        copier.substitute(node.results[0], with: made)
        isAfter = true
      } else if isAfter, let reshape = try Catalogue.operation(of: node) as? Reshape {
        var shape = reshape.shape
        for axis in 0..<shape.rank where shape[axis] == GraftIR.Dimension(head.classes) {
          shape[axis] = GraftIR.Dimension(classes)
        }
        let x = try copier.value(for: try operand(0, of: node))
        let made = try copier.build {
          try $0.append(
            Reshape(shape: shape), [x], names: [self[node.results[0]].name], origins: node.origins)
        }
        copier.substitute(node.results[0], with: made[0])
      } else {
        try copier.copy(node)
      }
    }
    for output in outputs {
      let value = try copier.value(for: output.value)
      copier.build { $0.outputs.append(GraphOutput(name: output.name, value: value)) }
    }
    return copier.target
  }

  private func operand(_ index: Int, of node: Node) throws -> ValueID {
    guard let value = node.operand(index) else {
      throw GraftError(.invalidGraph, "operand \(index) is missing", at: location(of: node))
    }
    return value
  }

  fileprivate mutating func appendHead(
    _ replacement: HeadReplacement, _ x: ValueID, like old: Node, of source: Graph, _ head: Head,
    classes: Int, seed: UInt64
  ) throws -> ValueID {
    let weightName = old.operand(1).flatMap { source[$0].name } ?? "head.weight"
    let biasName =
      old.operand(2).flatMap { source[$0].parameter == nil ? nil : source[$0].name }
      ?? (weightName.hasSuffix("weight")
        ? String(weightName.dropLast(6)) + "bias" : weightName + ".bias")
    let isConvolution = old.opcode == Convolution.opcode
    var value = x
    var features = head.features
    var initializer = UniformInitializer(seed: seed)
    func layer(
      _ graph: inout Graph, _ x: ValueID, to width: Int, weight: String, bias: String,
      name: String?, origins: [String]
    ) throws -> ValueID {
      let bound = 1 / Double(features).squareRoot()
      let shape = [width, features] + (isConvolution ? [1, 1] : [])
      let w = graph.addParameter(
        graph.unusedName(weight), TensorType(.float32, TensorShape(shape)),
        Parameter(
          data: try TensorData(initializer.next(width * features, bound: bound), shape: shape)))
      let b = graph.addParameter(
        graph.unusedName(bias), TensorType(.float32, [GraftIR.Dimension(width)]),
        Parameter(data: try TensorData(initializer.next(width, bound: bound), shape: [width])))
      let operation: any Operator = isConvolution ? Convolution() : Gemm(transposesB: true)
      return try graph.append(operation, [x, w, b], names: [name], origins: origins)[0]
    }
    if case .mlp(let hidden) = replacement {
      let base = weightName.hasSuffix(".weight") ? String(weightName.dropLast(7)) : weightName
      value = try layer(
        &self, value, to: hidden, weight: base + ".hidden.weight", bias: base + ".hidden.bias",
        name: nil, origins: [base + ".hidden"])
      value = try append(Relu(), [value], origins: [base + ".relu"])[0]
      features = hidden
    }
    return try layer(
      &self, value, to: classes, weight: weightName, bias: biasName,
      name: source[old.results[0]].name, origins: old.origins)
  }
}

/// Uniform numbers in ±bound: PyTorch's default for linear and convolutional layers, whose bounds are
/// 1 / √fan-in for weights (He et al. 2015 with a = √5) and biases alike.
private struct UniformInitializer {
  private let key: (UInt32, UInt32)
  private var tensor: UInt32 = 0

  init(seed: UInt64) {
    key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
  }

  /// The next tensor of `count` elements.
  mutating func next(_ count: Int, bound: Double) -> [Float] {
    defer { tensor += 1 }
    var elements: [Float] = []
    elements.reserveCapacity(count)
    for block in 0..<((count + 3) / 4) {
      let words = Philox4x32.block(
        key: key, counter: (UInt32(truncatingIfNeeded: block), tensor, 0x6865_6164, 0))
      for word in words.prefix(count - 4 * block) {
        let unit = (Double(word) + 0.5) / 4_294_967_296
        elements.append(Float((2 * unit - 1) * bound))
      }
    }
    return elements
  }
}
