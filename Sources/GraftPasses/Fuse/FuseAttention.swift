// Attention written as products and a softmax.

import GraftDiagnostics
import GraftIR
import GraftOps

/// softmax(q · kᵀ · scale + bias) · v becomes one ``Attention``, whose kernel keeps no matrix of scores. The scale may
/// multiply or divide the scores, q or k; up to two biases may be added, with changes of shape of the axes before
/// the last two in between, as windows have them.
///
/// ```
/// %3 = transpose(%1) {permutation=[0, 1, 3, 2]} : f32[N,2,4,5] from "t"
/// %4 = matmul(%0, %3) : f32[N,2,5,5] from "qk"
/// %5 = softmax(%4) {axis=3} : f32[N,2,5,5] from "softmax"
/// %6 = matmul(%5, %2) : f32[N,2,5,4] from "pv"
/// ```
/// becomes
/// ```
/// %3, %4 = attention(%0, %1, %2) {scale=1.0} : f32[N,2,5,4], f32[N,2,5] from "t", "qk", "softmax", "pv"
/// ```
public struct FuseAttention: Pass {
  public static let name = "fuse-attention"
  public static let summary = "makes products around a softmax one attention"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard node.opcode == MatrixMultiply.opcode,
        let weights = node.operand(0),
        let match = try AttentionMatch(weights, of: node, in: graph, context)
      else { continue }
      let names = graph.title(node)
      guard let leading = match.finestLeading else {
        context.left(names, because: "the axes of its scores do not divide alike")
        continue
      }
      try apply(match, leading, to: node, &graph)
      context.did("made the softmax of products before \(names) an attention")
    }
  }

  private func apply(
    _ match: AttentionMatch, _ leading: [Dimension], to node: Node, _ graph: inout Graph
  ) throws {
    let origins = graph.origins(of: match.absorbed + [node])
    func append(
      _ operation: any GraftOps.Operator, _ operands: [ValueID], _ graph: inout Graph
    ) throws -> ValueID {
      try graph.append(operation, operands, origins: node.origins, before: node.id)[0]
    }
    func reshaped(_ value: ValueID, _ shape: [Dimension], _ graph: inout Graph) throws -> ValueID {
      graph.type(of: value).shape.dimensions == shape
        ? value : try append(Reshape(shape: TensorShape(shape)), [value], &graph)
    }
    func turned(_ value: ValueID, _ graph: inout Graph) throws -> ValueID {
      try append(Transpose.ofMatrices(rank: graph.type(of: value).rank), [value], &graph)
    }
    var q = match.q
    for factor in match.factors { q = try append(Multiply(), [q, factor], &graph) }
    let k = match.isTurned ? match.k : try turned(match.k, &graph)
    var operands: [ValueID?] = []
    for value in [q, k, match.v] {
      let rows = graph.type(of: value).shape.dimensions.suffix(2)
      operands.append(try reshaped(value, leading + rows, &graph))
    }
    var addends: [ValueID] = []
    for addend in match.addends {
      let shape = try AttentionMatch.spread(addend, over: leading, graph)
      var value = try reshaped(addend.value, shape, &graph)
      let whole = shape.dropLast(2) + addend.stage.suffix(2)
      if whole != shape[...] {
        value = try append(Expand(shape: TensorShape(Array(whole))), [value], &graph)
      }
      addends.append(try turned(value, &graph))
    }
    while addends.count > 2 {
      let (a, b) = (addends.removeLast(), addends.removeLast())
      addends.append(try append(Add(), [b, a], &graph))
    }
    let results = try graph.append(
      Attention(scale: match.scale), operands + addends, origins: origins, before: node.id)
    let old = node.results[0]
    let shape = graph.type(of: old).shape
    if graph.type(of: results[0]).shape == shape {
      graph[results[0]].name = graph[old].name
      graph.replaceUses(of: old, with: results[0])
      graph.remove(node.id)
      graph.removeUnread(match.absorbed)
    } else {
      try graph.replace(
        node, with: Reshape(shape: shape), [results[0]], absorbing: match.absorbed)
    }
  }
}

/// What leads to the softmaxed weights of a product.
private struct AttentionMatch {
  struct Addend {
    var value: ValueID
    /// The shape of the scores where it is added.
    var stage: [Dimension]
  }

  private(set) var q: ValueID
  private(set) var k: ValueID
  let v: ValueID
  /// Whether k is […, keys, size]; else […, size, keys].
  private(set) var isTurned = false
  private(set) var scale = 1.0
  /// What multiplies all scores of one head.
  private(set) var factors: [ValueID] = []
  private(set) var addends: [Addend] = []
  private(set) var absorbed: [Node] = []
  /// The axes before the last two, wherever the scores have others.
  private var leadings: [[Dimension]] = []

  /// - Returns: nil unless `weights`, the first operand of `node`, is the softmax of such scores.
  init?(_ weights: ValueID, of node: Node, in graph: Graph, _ context: PassContext) throws {
    guard let v = node.operand(1), let result = node.results.first,
      graph.type(of: result).dtype == .float32, graph.type(of: result).rank >= 2
    else { return nil }
    (self.v, q, k) = (v, v, v)
    var value = weights
    var isNormalized = false
    // Changes of shape, then the softmax.
    while !isNormalized {
      guard let (producer, operation) = try Self.producer(of: value, graph),
        let x = producer.operand(0), note(value, graph)
      else { return nil }
      if let softmax = operation as? Softmax {
        guard !softmax.flattens, softmax.axis == graph.type(of: value).rank - 1 else { return nil }
        isNormalized = true
      } else if !(operation is any ShapeChange && Self.keepsMatrix(x, value, graph)) {
        return nil
      }
      absorbed.append(producer)
      value = x
    }
    guard try scores(value, graph, context),
      graph.type(of: v).shape.dimensions.dropLast(2)
        == graph.type(of: weights).shape.dimensions.dropLast(2)
    else { return nil }
    let sizes = [q, v].compactMap { graph.type(of: $0).shape.dimensions.last?.constant }
    let rows = graph.type(of: weights).shape.dimensions.suffix(2).compactMap(\.constant)
    // Longer heads than any network's do not fit the kernel's tiles.
    guard sizes.count == 2, rows.count == 2, sizes.allSatisfy({ (1...512).contains($0) }),
      rows.allSatisfy({ $0 > 0 })
    else { return nil }
  }

  /// The shape with the most axes before the last two, if all others are groups of its axes.
  var finestLeading: [Dimension]? {
    guard let finest = leadings.max(by: { $0.count < $1.count }),
      finest.count(where: \.isBatch) <= 1,
      leadings.allSatisfy({ Self.groups(of: finest, as: $0) != nil })
    else { return nil }
    return finest
  }

  /// The shape of an addend whose axes before the last two are those of `leading` or 1.
  static func spread(
    _ addend: Addend, over leading: [Dimension], _ graph: Graph
  ) throws -> [Dimension] {
    let own = graph.type(of: addend.value).shape.dimensions
    let padded = Array(repeating: Dimension(1), count: addend.stage.count - own.count) + own
    guard let groups = groups(of: leading, as: Array(addend.stage.dropLast(2))) else {
      throw GraftError(.inconsistency, "the axes \(addend.stage) are not groups of \(leading)")
    }
    let spread = groups.enumerated().flatMap { axis, group in
      group.map { padded[axis] == 1 ? Dimension(1) : leading[$0] }
    }
    return spread + padded.suffix(2)
  }

  /// For each axis of `coarse` the neighboring axes of `fine` that it consists of; nil if it does not.
  private static func groups(of fine: [Dimension], as coarse: [Dimension]) -> [[Int]]? {
    var (groups, next) = ([[Int]](), 0)
    for extent in coarse {
      var (group, product) = ([Int](), Dimension(1))
      while product != extent {
        guard fine.indices.contains(next), let longer = product.multiplied(by: fine[next]) else {
          return nil
        }
        group.append(next)
        (product, next) = (longer, next + 1)
      }
      groups.append(group)
    }
    guard fine[next...].allSatisfy({ $0 == 1 }) else { return nil }
    if !groups.isEmpty { groups[groups.count - 1] += Array(next..<fine.count) }
    return groups
  }

  private static func producer(
    of value: ValueID, _ graph: Graph
  ) throws -> (Node, any GraftOps.Operator)? {
    guard let node = graph.producer(of: value), node.results.count == 1 else { return nil }
    return (node, try Catalog.operation(of: node))
  }

  /// Whether a change of shape leaves the last two axes alone.
  private static func keepsMatrix(_ x: ValueID, _ y: ValueID, _ graph: Graph) -> Bool {
    let (before, after) = (graph.type(of: x).shape.dimensions, graph.type(of: y).shape.dimensions)
    return before.count >= 2 && after.count >= 2 && before.suffix(2) == after.suffix(2)
  }

  /// Remembers a value of scores or weights, which nothing else may read.
  private mutating func note(_ value: ValueID, _ graph: Graph) -> Bool {
    guard Uses(graph).isPrivate(value) else { return false }
    leadings.append(graph.type(of: value).shape.dimensions.dropLast(2))
    return true
  }

  /// Follows scores to their product.
  private mutating func scores(
    _ value: ValueID, _ graph: Graph, _ context: PassContext
  ) throws -> Bool {
    guard note(value, graph), let (node, operation) = try Self.producer(of: value, graph) else {
      return false
    }
    let shape = graph.type(of: value).shape
    absorbed.insert(node, at: 0)
    switch operation {
    case is MatrixMultiply:
      return try product(node, graph, context)
    case is any ShapeChange:
      guard let x = node.operand(0), Self.keepsMatrix(x, value, graph) else { return false }
      return try scores(x, graph, context)
    case let add as Add where add.activation == .none:
      return try either(node, graph, context) { match, other in
        match.addends.insert(Addend(value: other, stage: shape.dimensions), at: 0)
        return true
      }
    case let multiply as Multiply where multiply.activation == .none:
      return try either(node, graph, context) { match, other in
        if let number = Self.number(other, graph, context) {
          match.scale *= number
          return true
        }
        let factor = graph.type(of: other).shape.dimensions
        guard (2...shape.rank).contains(factor.count), factor.suffix(2).allSatisfy({ $0 == 1 })
        else {
          return false
        }
        match.factors.append(other)
        return true
      }
    case let divide as Divide where divide.activation == .none:
      guard let x = node.operand(0), let by = node.operand(1),
        let number = Self.number(by, graph, context), number != 0
      else { return false }
      scale /= number
      return try scores(x, graph, context)
    default: return false
    }
  }

  /// Follows the one operand of a node that leads to scores, if `accepts` agrees to the other.
  private mutating func either(
    _ node: Node, _ graph: Graph, _ context: PassContext,
    _ accepts: (inout AttentionMatch, ValueID) -> Bool
  ) throws -> Bool {
    guard let a = node.operand(0), let b = node.operand(1) else { return false }
    let shape = graph.type(of: node.results[0]).shape
    for (x, other) in [(a, b), (b, a)] where graph.type(of: x).shape == shape {
      var copy = self
      if accepts(&copy, other), try copy.scores(x, graph, context) {
        self = copy
        return true
      }
    }
    return false
  }

  /// q · kᵀ with the scale taken from both.
  private mutating func product(
    _ node: Node, _ graph: Graph, _ context: PassContext
  ) throws -> Bool {
    guard let left = node.operand(0), let right = node.operand(1) else { return false }
    let leading = graph.type(of: node.results[0]).shape.dimensions.dropLast(2)
    // Factors of heads become factors of q, which has the axes of the product.
    guard factors.isEmpty || leadings.allSatisfy({ $0[...] == leading }) else { return false }
    q = try unscaled(left, graph, context)
    k = try unscaled(right, graph, context)
    guard
      [q, k].allSatisfy({ value in
        let shape = graph.type(of: value).shape.dimensions
        return shape.count >= 2 && shape.dropLast(2) == leading
      })
    else { return false }
    if let (turn, operation) = try graph.producer(of: k, as: Transpose.self),
      let source = turn.operand(0)
    {
      let rank = operation.permutation.count
      if rank >= 2, operation.permutation == Transpose.ofMatrices(rank: rank).permutation {
        absorbed.insert(turn, at: 0)
        k = try unscaled(source, graph, context)
        isTurned = true
      }
    }
    return scale.isFinite
  }

  /// The value before multiplications by a number, which become part of the scale.
  private mutating func unscaled(
    _ value: ValueID, _ graph: Graph, _ context: PassContext
  ) throws -> ValueID {
    guard let (node, operation) = try Self.producer(of: value, graph), let a = node.operand(0),
      let b = node.operand(1)
    else { return value }
    if let multiply = operation as? Multiply, multiply.activation == .none {
      for (x, other) in [(a, b), (b, a)] {
        guard let number = Self.number(other, graph, context),
          graph.type(of: x).shape == graph.type(of: value).shape
        else { continue }
        scale *= number
        absorbed.insert(node, at: 0)
        return x
      }
    } else if let divide = operation as? Divide, divide.activation == .none,
      let number = Self.number(b, graph, context), number != 0,
      graph.type(of: a).shape == graph.type(of: value).shape
    {
      scale /= number
      absorbed.insert(node, at: 0)
      return a
    }
    return value
  }

  /// A constant of one element that training does not change.
  private static func number(
    _ value: ValueID, _ graph: Graph, _ context: PassContext
  ) -> Double? {
    guard context.isConstant(value, in: graph), let parameter = graph[value].parameter,
      context.mode == .inference || parameter.isLiteral, let data = parameter.data,
      data.elementCount == 1, let number = data.doubles().first, number.isFinite
    else { return nil }
    return number
  }
}
