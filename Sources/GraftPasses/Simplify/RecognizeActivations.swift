// Recognizes activations that exporters write as several nodes.

import GraftDiagnostics
import GraftIR
import GraftOps

/// x · sigmoid(x) is SiLU; clip(x + 3, 0, 6) / 6 a HardSigmoid; x times that a HardSwish, in whichever
/// order the three factors are multiplied; x · (erf(x / √2) + 1) / 2 a Gelu.
///
/// ```
/// %3 = add(%0, %1) : f32[N,8] from "add"
/// %4 = clip(%3) {low=0.0, high=6.0} : f32[N,8] from "clip"
/// %5 = mul(%0, %4) : f32[N,8] from "mul"
/// %6 = div(%5, %2) : f32[N,8] from "div"
/// ```
/// with %1 = 3 and %2 = 6 becomes
/// ```
/// %3 = hard_swish(%0) : f32[N,8] from "add", "clip", "mul", "div"
/// ```
public struct RecognizeActivations: Pass {
  public static let name = "recognize-activations"
  public static let summary = "replaces activations written as several nodes by one operator"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      // Only float32 has kernels of every activation.
      guard node.results.count == 1, graph.type(of: node.results[0]).dtype == .float32,
        let match = try PatternMatcher(graph, context).match(node)
      else { continue }
      let nodes = match.nodes.map(graph.title).joined(separator: ", ")
      context.did(
        "recognized \(type(of: match.operation).opcode) in \(nodes), \(graph.title(node))")
      try graph.replace(node, with: match.operation, [match.x], absorbing: match.nodes)
    }
  }
}

/// Matches decomposed activations that end in a node.
private struct PatternMatcher {
  struct Match {
    var operation: any Operator
    var x: ValueID
    /// All nodes but the last, in order.
    var nodes: [Node]
  }

  private let graph: Graph
  private let context: PassContext
  private let uses: Uses

  init(_ graph: Graph, _ context: PassContext) {
    self.graph = graph
    self.context = context
    uses = Uses(graph)
  }

  func match(_ node: Node) throws -> Match? {
    if let (value, factor) = try scaled(node), abs(factor * 6 - 1) < 1e-6 {
      // clip(x + 3, 0, 6) / 6, and (x · clip(x + 3, 0, 6)) / 6.
      if let ramp = try ramp(value) {
        return Match(
          operation: HardSigmoid(alpha: 1.0 / 6, beta: 0.5), x: ramp.x, nodes: ramp.nodes)
      }
      if let product = try privateProducer(of: value, as: Multiply.self), product.plain,
        let (x, ramp) = try split(product.node, ramp(_:))
      {
        return Match(operation: HardSwish(), x: x, nodes: ramp.nodes + [product.node])
      }
    }
    if let found = try gelu(node) { return found }
    guard let product = try graph.operation(node, as: Multiply.self), product.activation == .none
    else { return nil }
    if let (x, sigmoid) = try split(node, sigmoid(_:)) {
      return Match(operation: Silu(), x: x, nodes: sigmoid.nodes)
    }
    guard let (x, gate) = try split(node, gate(_:)) else { return nil }
    return Match(operation: HardSwish(), x: x, nodes: gate.nodes)
  }

  private typealias Part = (x: ValueID, nodes: [Node])

  /// (x · (erf(x / √2) + 1)) · ½, and (x · ½) · (erf(x / √2) + 1).
  private func gelu(_ node: Node) throws -> Match? {
    if let (value, factor) = try scaled(node), abs(factor - 0.5) < 1e-6,
      let product = try privateProducer(of: value, as: Multiply.self), product.plain,
      let (x, gate) = try split(product.node, normalDistribution(_:))
    {
      return Match(operation: Gelu(), x: x, nodes: gate.nodes + [product.node])
    }
    guard let product = try graph.operation(node, as: Multiply.self), product.activation == .none,
      let a = node.operand(0), let b = node.operand(1)
    else { return nil }
    for (half, other) in [(a, b), (b, a)] {
      guard uses.isPrivate(half), let scaling = graph.producer(of: half),
        let (x, factor) = try scaled(scaling), abs(factor - 0.5) < 1e-6,
        let gate = try normalDistribution(other), gate.x == x
      else { continue }
      return Match(operation: Gelu(), x: x, nodes: gate.nodes + [scaling])
    }
    return nil
  }

  /// erf(x / √2) + 1
  private func normalDistribution(_ value: ValueID) throws -> Part? {
    guard let sum = try privateProducer(of: value, as: Add.self), sum.plain,
      let (inner, one) = constant(sum.node), one == 1, uses.isPrivate(inner),
      let function = graph.producer(of: inner), function.opcode == ErrorFunction.opcode,
      let argument = function.operand(0), uses.isPrivate(argument),
      let scaling = graph.producer(of: argument),
      let (x, factor) = try scaled(scaling), abs(factor * 2.0.squareRoot() - 1) < 1e-6
    else { return nil }
    return (x, [scaling, function, sum.node])
  }

  /// x · f(x) where `part` finds f(x) in either operand.
  private func split(
    _ node: Node, _ part: (ValueID) throws -> Part?
  ) throws -> (x: ValueID, part: Part)? {
    guard let a = node.operand(0), let b = node.operand(1) else { return nil }
    for (x, other) in [(a, b), (b, a)] {
      if let found = try part(other), found.x == x { return (x, found) }
    }
    return nil
  }

  private func sigmoid(_ value: ValueID) throws -> Part? {
    guard let producer = graph.producer(of: value), producer.opcode == Sigmoid.opcode,
      uses.isPrivate(value), let x = producer.operand(0)
    else { return nil }
    return (x, [producer])
  }

  /// hard_sigmoid(x) with 1/6 and 1/2, as one operator or decomposed.
  private func gate(_ value: ValueID) throws -> Part? {
    guard let producer = graph.producer(of: value), uses.isPrivate(value) else { return nil }
    if let named = try graph.operation(producer, as: HardSigmoid.self), let x = producer.operand(0)
    {
      return abs(named.alpha * 6 - 1) < 1e-6 && named.beta == 0.5 ? (x, [producer]) : nil
    }
    guard let (inner, factor) = try scaled(producer), abs(factor * 6 - 1) < 1e-6,
      let ramp = try ramp(inner)
    else { return nil }
    return (ramp.x, ramp.nodes + [producer])
  }

  /// clip(x + 3, 0, 6)
  private func ramp(_ value: ValueID) throws -> Part? {
    guard let producer = graph.producer(of: value), uses.isPrivate(value),
      let clip = try graph.operation(producer, as: Clip.self), clip.low == 0, clip.high == 6,
      let sum = try producer.operand(0).flatMap({ try privateProducer(of: $0, as: Add.self) }),
      sum.plain, let (x, shift) = constant(sum.node), shift == 3
    else { return nil }
    return (x, [sum.node, producer])
  }

  /// A value times a constant, as a product or a quotient.
  private func scaled(_ node: Node) throws -> (value: ValueID, factor: Double)? {
    guard let binary = try Catalog.operation(of: node) as? any BinaryElementwise,
      binary.activation == .none, let (x, number) = constant(node),
      let (scale, shift) = type(of: binary).affine(with: number, at: x == node.operand(0) ? 1 : 0),
      shift == 0
    else { return nil }
    return (x, scale)
  }

  /// A node on a value and a scalar constant.
  private func constant(_ node: Node) -> (x: ValueID, constant: Double)? {
    guard let a = node.operand(0), let b = node.operand(1) else { return nil }
    for (x, other) in [(a, b), (b, a)] {
      guard context.isConstant(other, in: graph),
        graph.type(of: x).shape == graph.type(of: node.results[0]).shape,
        let elements = graph[other].parameter?.data?.doubles(), let first = elements.first,
        elements.allSatisfy({ $0 == first })
      else { continue }
      return (x, first)
    }
    return nil
  }

  private func privateProducer<Operation: BinaryElementwise>(
    of value: ValueID, as type: Operation.Type
  ) throws -> (node: Node, plain: Bool)? {
    guard uses.isPrivate(value), let found = try graph.producer(of: value, as: type) else {
      return nil
    }
    return (found.node, found.operation.activation == .none)
  }
}
