// The head of a network: the last operator with weights on every path to the output. HeadReplacement replaces
// it.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The last operator with weights on every path to the output, as far as it can be replaced.
public struct Head: Sendable {
  public let node: Node
  /// The current number of classes: the units of a gemm or matmul, the channels of a convolution.
  public let classes: Int
  /// The number of input features: the inputs of a gemm, the channels of a 1×1 convolution.
  public let features: Int

  /// Whether a node is an operator with weights: a convolution, a gemm or a matmul, but not a product of two
  /// computed values or with a constant that is not a weight.
  public static func hasWeights(_ node: Node, in graph: Graph) -> Bool {
    guard let type = Catalog.type(of: node.opcode) else { return false }
    return type.operands.indices.contains { position in
      [.weight, .factor].contains(type.role(at: position))
        && node.operand(position).map { isWeight($0, in: graph) } == true
    }
  }

  /// Whether a node is an operator with weights or an embedding (rows of a weight, selected by computed
  /// indices), which cannot be a head.
  static func readsWeights(_ node: Node, in graph: Graph) -> Bool {
    if hasWeights(node, in: graph) { return true }
    guard let type = Catalog.type(of: node.opcode),
      node.presentOperands.contains(where: { graph[$0].parameter == nil })
    else { return false }
    return node.operands.enumerated().contains { position, operand in
      guard let operand, type.role(at: position) == .table else { return false }
      return graph.type(of: operand).dtype.isFloatingPoint && isWeight(operand, in: graph)
    }
  }

  /// Whether a value is a weight, or computed only from weights.
  private static func isWeight(_ value: ValueID, in graph: Graph, depth: Int = 0) -> Bool {
    if let parameter = graph[value].parameter { return !parameter.isLiteral }
    // Exporters apply few nodes to weights; longer chains come from the input.
    guard depth < 32, let node = graph.producer(of: value) else { return false }
    var found = false
    for operand in node.presentOperands {
      if isWeight(operand, in: graph, depth: depth + 1) {
        found = true
      } else if graph[operand].parameter == nil {
        return false
      }
    }
    return found
  }

  /// - Throws: ``GraftError`` of kind `unsupported` if there is no such operator or more than one, or it cannot be
  ///   replaced.
  public init(of graph: Graph) throws {
    let found = try Self.search(in: graph)
    guard found.isOnEveryPath else {
      throw Self.joined(at: found.join ?? found.node, in: graph)
    }
    try self.init(found.node, in: graph)
  }

  /// The last operator with weights on which the output depends, whatever it is and if there are paths around it: what
  /// is trained as the head if it is kept.
  /// - Throws: ``GraftError`` of kind `unsupported` if there is no such operator.
  public static func lastLayer(of graph: Graph) throws -> Node { try search(in: graph).node }

  /// - Returns: the last operator with weights before the output, and the last operator that joins several values.
  private static func search(
    in graph: Graph
  ) throws -> (node: Node, isOnEveryPath: Bool, join: Node?) {
    guard let output = graph.outputs.first, graph.outputs.count == 1 else {
      throw GraftError(
        .unsupported,
        "the network has \(graph.outputs.count) outputs, but a head needs exactly one",
        advice: "Choose one with --output NAME.")
    }
    let computed = graph.values(dependingOn: graph.inputs)
    // Values whose producers have not been visited yet, walking backward from the output.
    var open: Set = [output.value]
    var join: Node?
    for node in graph.nodes.reversed() where node.results.contains(where: open.contains) {
      if hasWeights(node, in: graph) { return (node, open == Set(node.results), join) }
      open.subtract(node.results)
      let operands = Set(node.presentOperands.filter(computed.contains))
      if operands.count > 1, join == nil { join = node }
      open.formUnion(operands)
    }
    throw GraftError(
      .unsupported, "the network has no operator with weights before its output",
      advice: "Fine-tuning needs layers with weights.")
  }

  private static func joined(at node: Node, in graph: Graph) -> GraftError {
    GraftError(
      .unsupported,
      "\(node.opcode) combines several values after the last weights, so there is no single head",
      at: graph.location(of: node),
      advice: "Choose an output before it with --output NAME if the file has one, export the "
        + "network with only one of its heads, or keep the last layer with --head keep.")
  }

  /// Whether a value is a parameter, or one transposed.
  private static func isStored(_ value: ValueID, in graph: Graph) throws -> Bool {
    if graph[value].parameter != nil { return true }
    guard let producer = graph.producer(of: value), let operand = producer.operand(0),
      graph[operand].parameter != nil
    else { return false }
    return try Catalog.operation(of: producer).keepsValues
  }

  private init(_ node: Node, in graph: Graph) throws {
    guard let weight = node.operand(1), try Self.isStored(weight, in: graph),
      let shape = graph.type(of: weight).shape.constants
    else {
      throw GraftError(
        .unsupported, "the head's second operand is not a weight of the file",
        at: graph.location(of: node),
        advice: "Export the network so that the head multiplies features by a stored weight.")
    }
    self.node = node
    switch try Catalog.operation(of: node) {
    case let gemm as Gemm where !gemm.transposesA && shape.count == 2:
      (classes, features) =
        gemm.transposesB ? (shape[0], shape[1]) : (shape[1], shape[0])
    case is MatrixMultiply where shape.count == 2: (classes, features) = (shape[1], shape[0])
    case let convolution as Convolution
    where convolution.groups == 1 && shape[2...].allSatisfy { $0 == 1 }:
      (classes, features) = (shape[0], shape[1])
    default:
      throw GraftError(
        .unsupported, "the head must be a gemm, a matmul or a 1x1 convolution",
        at: graph.location(of: node),
        advice: "Choose another output with --output NAME, or keep the head with --head keep.")
    }
  }

  /// The class axis of the head's result.
  func classAxis(in graph: Graph) -> Int {
    node.opcode == Convolution.opcode ? 1 : graph.type(of: node.results[0]).rank - 1
  }
}
