// Replacing the head of a network, and updating the operators after it that depend on the number of classes.

import GraftDiagnostics
import GraftIR
import GraftOps

/// How the head is replaced.
public enum HeadReplacement: Hashable, Sendable {
  /// A layer of the same kind as the old one.
  case linear
  /// The same, after a hidden layer of this width with a relu.
  case mlp(hidden: Int)
  /// The existing head with its weights.
  case keep
  /// A linear layer that reads the value of this name; what comes after the value is left out.
  case on(String)

  /// Reads `linear`, `mlp:K`, `keep` or the name of a value.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for another K, and for no name.
  public init(_ text: String) throws {
    switch text {
    case "linear": self = .linear
    case "keep": self = .keep
    default:
      guard text.hasPrefix("mlp:") || text.isEmpty else {
        self = .on(text)
        return
      }
      guard let hidden = Int(text.dropFirst(4)), (1...65536).contains(hidden) else {
        throw GraftError(
          .invalidArgument,
          "the head \(text.quotedForDisplay) must be linear, mlp:K with K from 1 to 65536, keep, or the name of a "
            + "value")
      }
      self = .mlp(hidden: hidden)
    }
  }
}

extension HeadReplacement: CustomStringConvertible {
  /// The text on the command line.
  public var description: String {
    switch self {
    case .linear: "linear"
    case .mlp(let hidden): "mlp:\(hidden)"
    case .keep: "keep"
    case .on(let name): name
    }
  }
}

extension Graph {
  /// The graph with a new head for `classes` classes, with weights initialized as in PyTorch.
  ///
  /// A gemm, or a matmul of rows, becomes a gemm, a 1×1 convolution a 1×1 convolution, including the bias of
  /// a following Add. Later operators are kept: reshapes get the new number of classes, and per-class
  /// parameters (BatchNorms, scales) are reinitialized.
  /// - Parameters:
  ///   - head: that of the graph with only one of the outputs.
  ///   - output: the index of this output.
  /// - Throws: ``GraftError`` that names the node that does not support another number of classes.
  public func replacingHead(
    _ head: Head, by replacement: HeadReplacement, classes: Int, seed: UInt64, output: Int = 0
  ) throws -> Graph {
    guard replacement != .keep else { return self }
    let own = outputs.indices.contains(output) ? keepingOnly(outputs[output]) : self
    let axes: ClassAxes
    do { axes = try ClassAxes(behind: head, in: own) } catch {
      // With the same number of classes, unsupported operators can be kept.
      guard classes == head.classes else { throw error }
      axes = ClassAxes(fixedBehind: head, in: own)
    }
    let literals = Literals(self)
    let layer = HeadLayer(head, in: self)
    var copier = GraphCopier(from: self, named: name)
    for input in inputs { copier.addInput(self[input].name ?? "", for: input) }
    for node in nodes {
      if node.id == head.node.id {
        guard let features = node.operand(0) else { continue }
        let x = try copier.value(for: features)
        let made = try copier.build {
          try $0.append(layer, replacement, x, of: self, classes: classes, seed: seed)
        }
        copier.substitute(layer.result, with: made)
      } else if node.results.contains(layer.result) {
        continue
      } else if node.presentOperands.contains(where: { axes.axes[$0] != nil }) {
        try copier.copy(node, adapting: axes, to: classes, literals)
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

  fileprivate mutating func append(
    _ old: HeadLayer, _ replacement: HeadReplacement, _ x: ValueID, of source: Graph,
    classes: Int, seed: UInt64
  ) throws -> ValueID {
    var initializer = UniformInitializer(seed: seed)
    var value = x
    var features = old.head.features
    if case .mlp(let hidden) = replacement {
      let base = old.weight.hasSuffix(".weight") ? String(old.weight.dropLast(7)) : old.weight
      value = try appendLayer(
        value, features, to: hidden, like: old, &initializer, weight: base + ".hidden.weight",
        bias: base + ".hidden.bias", name: nil, origins: [base + ".hidden"])
      value = try append(Relu(), [value], origins: [base + ".relu"])[0]
      features = hidden
    }
    return try appendLayer(
      value, features, to: classes, like: old, &initializer, weight: old.weight, bias: old.bias,
      name: source[old.result].name, origins: old.origins)
  }

  private mutating func appendLayer(
    _ x: ValueID, _ features: Int, to width: Int, like old: HeadLayer,
    _ initializer: inout UniformInitializer, weight: String, bias: String, name: String?,
    origins: [String]
  ) throws -> ValueID {
    let bound = 1 / Double(features).squareRoot()
    let ofRows = type(of: x).rank == 2
    let shape: [Int] =
      switch old.head.node.opcode {
      case Convolution.opcode: [width, features] + Array(repeating: 1, count: type(of: x).rank - 2)
      default: ofRows ? [width, features] : [features, width]
      }
    let w = addParameter(
      unusedName(weight), TensorType(.float32, TensorShape(shape)),
      Parameter(
        data: try TensorData(initializer.next(width * features, bound: bound), shape: shape)))
    let b = addParameter(
      unusedName(bias), TensorType(.float32, [GraftIR.Dimension(width)]),
      Parameter(data: try TensorData(initializer.next(width, bound: bound), shape: [width])))
    if old.head.node.opcode == Convolution.opcode {
      return try append(Convolution(), [x, w, b], names: [name], origins: origins)[0]
    }
    if ofRows {
      return try append(Gemm(transposesB: true), [x, w, b], names: [name], origins: origins)[0]
    }
    let product = try append(MatrixMultiply(), [x, w], origins: origins)[0]
    return try append(Add(), [product, b], names: [name], origins: origins)[0]
  }
}

/// The nodes that a new head replaces: the head, and the Add of its bias if that is a separate node.
private struct HeadLayer {
  let head: Head
  let weight: String
  let bias: String
  /// The value that the rest of the network reads.
  let result: ValueID
  let origins: [String]

  init(_ head: Head, in graph: Graph) {
    self.head = head
    let node = head.node
    weight = node.operand(1).flatMap { graph[$0].name } ?? "head.weight"
    let own = node.operand(2).flatMap { graph[$0].parameter == nil ? nil : graph[$0].name }
    let made =
      weight.hasSuffix("weight") ? String(weight.dropLast(6)) + "bias" : weight + ".bias"
    guard node.operand(2) == nil, let add = Self.addOfBias(behind: head, in: graph) else {
      (bias, result, origins) = (own ?? made, node.results[0], node.origins)
      return
    }
    (bias, result) = (add.name ?? made, add.node.results[0])
    origins = node.origins + add.node.origins
  }

  private static func addOfBias(
    behind head: Head, in graph: Graph
  ) -> (node: Node, name: String?)? {
    let product = head.node.results[0]
    let readers = graph.readers(of: product)
    guard readers.count == 1, !graph.isOutput(product), let reader = readers.first else {
      return nil
    }
    let node = graph[reader]
    guard node.opcode == Add.opcode,
      let added = node.presentOperands.first(where: { $0 != product }),
      graph[added].parameter != nil, graph.type(of: node.results[0]) == graph.type(of: product),
      let shape = graph.type(of: added).shape.constants, shape.reduce(1, *) == head.classes
    else { return nil }
    let place = head.classAxis(in: graph) - (graph.type(of: product).rank - shape.count)
    guard head.classes == 1 || shape.indices.contains(place) && shape[place] == head.classes
    else { return nil }
    return (node, graph[added].name)
  }
}

extension GraphCopier {
  /// Copies a node after the head for another number of classes.
  fileprivate mutating func copy(
    _ node: Node, adapting axes: ClassAxes, to classes: Int, _ literals: Literals
  ) throws {
    let adapted = try axes.adapted(node, to: classes)
    var operands: [ValueID?] = []
    for (index, old) in node.operands.enumerated() {
      guard let old, let shape = adapted.shapes[index], var parameter = source[old].parameter
      else {
        operands.append(try old.map { try value(for: $0) })
        continue
      }
      let first = try axes.initialValue(
        of: index, in: node, isTrained: !literals.contains(old))
      parameter.data = try TensorData(
        Array(repeating: first, count: shape.reduce(1, *)), shape: shape)
      let name = source[old].name ?? "scale"
      operands.append(
        build {
          $0.addParameter(
            $0.unusedName(name), TensorType(.float32, TensorShape(shape)), parameter)
        })
    }
    let names = node.results.map { source[$0].name }
    let results = try build {
      try $0.append(adapted.operation, operands, names: names, origins: node.origins)
    }
    for (old, new) in zip(node.results, results) { substitute(old, with: new) }
  }
}

/// Uniform initialization in ±bound: PyTorch's default for linear and convolutional layers, with the bound 1
/// / √fan-in for weights (He et al. 2015 with a = √5) and biases.
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
