// Decomposition of operators that ONNX does not have. Each operator defines its own; the exporter applies it.

import GraftDiagnostics
import GraftIR

/// The builder of a decomposition: the node, and the graph to which nodes are added before it.
public struct DecompositionBuilder {
  private var graph = Graph(name: "")
  public let node: Node
  /// The operands of the decomposed node, by position.
  private var operands: [ValueID?]

  private init(_ node: Node) {
    self.node = node
    operands = node.operands
  }

  /// Inserts the decomposition of `node` before it.
  /// - Returns: the value that replaces the node's result; nil if the node is not decomposed.
  /// - Throws: ``GraftError`` that names the node.
  public static func decompose(_ node: Node, in graph: inout Graph) throws -> ValueID? {
    try at(SourceLocation(node: node.origins.first, operatorName: node.opcode.rawValue)) {
      let operation = try Catalog.operation(of: node)
      var builder = DecompositionBuilder(node)
      // The builder owns the graph during the call, so that appending does not copy it.
      swap(&builder.graph, &graph)
      defer { swap(&builder.graph, &graph) }
      return try operation.decomposed(&builder)
    }
  }

  /// Operand `index`.
  /// - Throws: ``GraftError`` if it is absent.
  public func operand(_ index: Int) throws -> ValueID {
    guard let value = optionalOperand(index) else {
      throw GraftError(.invalidGraph, "operand \(index) is missing")
    }
    return value
  }

  public func optionalOperand(_ index: Int) -> ValueID? {
    operands.indices.contains(index) ? operands[index] : nil
  }

  public func type(of value: ValueID) -> TensorType { graph.type(of: value) }

  public func shape(of value: ValueID) -> TensorShape { graph.type(of: value).shape }

  /// Adds a node of one result.
  public mutating func apply(
    _ operation: any Operator, _ operands: [ValueID?]
  ) throws -> ValueID {
    let results = try graph.append(operation, operands, origins: node.origins, before: node.id)
    guard let result = results.first else {
      throw GraftError(.inconsistency, "an operator with one result returned none")
    }
    return result
  }

  /// Adds a constant of one element.
  public mutating func scalar(_ number: Double, like value: ValueID) throws -> ValueID {
    let type = TensorType(graph.type(of: value).dtype, [])
    return graph.addParameter(
      graph.unusedName("constant"), type,
      Parameter(
        derivation: "constant of a decomposition", isLiteral: true,
        data: try TensorData(packing: [number], as: type.dtype, shape: [])))
  }

  /// The elements of a constant; nil for another value.
  func data(of value: ValueID) -> TensorData? { graph[value].parameter?.data }

  /// Adds a constant whose name begins with that of the node.
  mutating func constant(_ data: TensorData, named suffix: String) throws -> ValueID {
    let name = "\(node.origins.first ?? node.opcode.rawValue).\(suffix)"
    return graph.addParameter(
      graph.unusedName(name), TensorType(data.dtype, TensorShape(data.shape)),
      Parameter(derivation: "constant of a decomposition", data: data))
  }

  /// Adds nodes that apply `activation`, decomposed if ONNX does not have it.
  public mutating func apply(_ activation: Activation, to x: ValueID) throws -> ValueID {
    guard let function = activation.function else { return x }
    let outer = operands
    operands = [x]
    defer { operands = outer }
    return try function.decomposed(&self) ?? apply(function, [x])
  }
}
