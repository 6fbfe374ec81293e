// Rewrites that operators define and passes apply: a simpler equivalent, and the equivalent on operands with
// permuted axes.

import GraftDiagnostics
import GraftIR

/// The equivalent of an operator on operands with permuted axes.
public struct PermutedOperator: Sendable {
  public var operation: any Operator
  /// Axis i of the original result is axis `resultPermutation[i]` of the new one; nil if the order is the
  /// same.
  public var resultPermutation: [Int]?

  public init(_ operation: any Operator, resultPermutation: [Int]?) {
    self.operation = operation
    self.resultPermutation = resultPermutation
  }
}

/// A node with one result, for simplification by its operator.
public struct SimplifiableNode {
  private let graph: Graph
  private let node: Node
  private let isConstant: (ValueID) -> Bool
  /// Whether the graph is compiled for training, so that random operators are kept.
  public let isTraining: Bool

  /// - Parameter isConstant: whether a parameter's bytes may be computed with.
  public init(
    _ node: Node, in graph: Graph, isTraining: Bool, isConstant: @escaping (ValueID) -> Bool
  ) {
    self.graph = graph
    self.node = node
    self.isTraining = isTraining
    self.isConstant = isConstant
  }

  /// How many operands are present.
  public var operandCount: Int { node.presentOperands.count }

  /// The type of operand `index`; nil if it is absent.
  public func type(ofOperand index: Int) -> TensorType? {
    node.operand(index).map { graph.type(of: $0) }
  }

  public var resultType: TensorType { graph.type(of: node.results[0]) }

  /// Whether the result has the type of operand 0.
  public var keepsType: Bool { type(ofOperand: 0) == resultType }

  /// The operator that computes operand `index`, if it is an `Operation`.
  public func producer<Operation: Operator>(
    ofOperand index: Int, as: Operation.Type
  ) throws -> Operation? {
    guard let value = node.operand(index), let producer = graph.producer(of: value),
      producer.opcode == Operation.opcode, producer.operand(0) != nil
    else { return nil }
    return try Catalog.operation(of: producer) as? Operation
  }

  /// The integers of operand `index`; nil if it is not a constant integer tensor.
  public func constantIntegers(ofOperand index: Int) -> [Int]? {
    guard let value = node.operand(index), isConstant(value) else { return nil }
    return graph[value].parameter?.data?.integers()
  }
}

/// The replacement of a node.
public enum Simplification: Sendable {
  /// The operand at this position: its elements, their order and their type.
  case operand(Int)
  /// These nodes, the last of which computes the result.
  case nodes([SimplerNode], summary: String? = nil)

  /// Another operator on operand 0.
  public static func become(_ operation: any Operator) -> Simplification {
    .nodes([SimplerNode(operation, [.operand(0)])])
  }

  /// Another operator on operand 0 of the node that computes operand 0.
  public static func merge(_ operation: any Operator) -> Simplification {
    .nodes([SimplerNode(operation, [.inner(0)])])
  }
}

/// One of the replacement nodes.
public struct SimplerNode: Sendable {
  public enum Source: Hashable, Sendable {
    /// An operand of the replaced node.
    case operand(Int)
    /// Operand 0 of the node that computes that operand.
    case inner(Int)
    /// The result of one of the nodes before this one, by position.
    case result(Int)
  }

  public var operation: any Operator
  public var operands: [Source]

  public init(_ operation: any Operator, _ operands: [Source]) {
    self.operation = operation
    self.operands = operands
  }
}
