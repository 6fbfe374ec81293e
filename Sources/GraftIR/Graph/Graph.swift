// The graph of the compiler, for inference and training: SSA values, nodes in execution order, parameters as
// values. A graph is a value type: a pass changes its copy.

import GraftDiagnostics

/// What defines a value.
public enum ValueDefinition: Hashable, Sendable {
  /// An input of the graph.
  case input
  /// A weight, statistic or constant stored with the graph.
  case parameter(Parameter)
  /// Result number `index` of `node`.
  case result(node: NodeID, index: Int)
}

/// An SSA value: defined once, by an input, a parameter or a node.
public struct Value: Hashable, Sendable {
  /// Its name in the imported file; inputs and parameters always have one.
  public var name: String?
  public var type: TensorType
  public var definition: ValueDefinition

  public var parameter: Parameter? {
    if case .parameter(let parameter) = definition { parameter } else { nil }
  }
}

/// A tensor stored with the graph, a value with a name, so that fine-tuning can refer to it.
public struct Parameter: Hashable, Sendable {
  /// Whether a training step updates it.
  public var isTrained: Bool
  /// The optimizer's parameter group, where it has one.
  public var group: String?
  /// How a pass computed it, such as `folded batch_normalization "bn1"`; nil for imported parameters.
  public var derivation: String?
  /// Whether it is a constant of the network's nodes rather than a weight: the value of a Constant node, or
  /// folded only from such values. It does not train.
  public var isLiteral: Bool
  /// The bytes, by reference; nil in a graph that was parsed from text and not yet bound.
  /// Two graphs that differ only here are equal.
  public var data: TensorData?

  public init(
    isTrained: Bool = false, group: String? = nil, derivation: String? = nil,
    isLiteral: Bool = false, data: TensorData? = nil
  ) {
    self.isTrained = isTrained
    self.group = group
    self.derivation = derivation
    self.isLiteral = isLiteral
    self.data = data
  }

  public static func == (left: Parameter, right: Parameter) -> Bool {
    left.isTrained == right.isTrained && left.group == right.group
      && left.derivation == right.derivation && left.isLiteral == right.isLiteral
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(isTrained)
    hasher.combine(group)
    hasher.combine(derivation)
    hasher.combine(isLiteral)
  }
}

/// One operation: an operator applied to values.
public struct Node: Hashable, Sendable {
  public let id: NodeID
  public var opcode: Opcode
  /// The operands by position; nil if an optional operand is absent.
  public var operands: [ValueID?]
  public let results: [ValueID]
  public var attributes: Attributes
  /// The names of the imported nodes that this one computes, in order.
  public var origins: [String]
  /// The kernel of the node, after kernel selection.
  public var kernel: KernelNote?

  /// The operands that are present.
  public var presentOperands: [ValueID] { operands.compactMap(\.self) }

  /// The operand at `index`, nil if it is absent or past the end.
  public func operand(_ index: Int) -> ValueID? {
    index < operands.count ? operands[index] : nil
  }
}

/// An output of the graph with its name in the imported file.
public struct GraphOutput: Hashable, Sendable {
  public var name: String
  public var value: ValueID

  public init(name: String, value: ValueID) {
    self.name = name
    self.value = value
  }
}

/// A network: inputs, parameters, nodes in execution order, outputs.
///
/// Two graphs are equal when they print the same text: numbering and the bytes of parameters do not
/// distinguish them.
public struct Graph: Sendable {
  public var name: String
  public private(set) var inputs: [ValueID] = []
  public var outputs: [GraphOutput] = []

  var values: [Value?] = []
  /// The nodes that read each value, in no order, each once for every operand; kept up to date.
  var readers: [[NodeID]] = []
  var storedNodes: [Node?] = []
  /// Execution order.
  var order: [NodeID] = []

  public init(name: String) { self.name = name }

  // MARK: Reading

  /// Every node in execution order.
  public var nodes: [Node] { order.compactMap { storedNodes[$0.index] } }

  public var nodeCount: Int { order.count }

  /// Every parameter in the order in which it was added.
  public var parameters: [ValueID] {
    values.indices.filter { values[$0]?.parameter != nil }.map { ValueID($0) }
  }

  /// Every value that exists, in the order in which it was added.
  public var allValues: [ValueID] {
    values.indices.filter { values[$0] != nil }.map { ValueID($0) }
  }

  /// The value with an identifier of this graph. Using an identifier of another graph, or of a removed value,
  /// is a bug in the caller.
  public subscript(id: ValueID) -> Value {
    get {
      guard let value = values[id.index] else { preconditionFailure("%\(id.index) was removed") }
      return value
    }
    set { values[id.index] = newValue }
  }

  /// The node with an identifier of this graph; the same rule as for values.
  public subscript(id: NodeID) -> Node {
    get {
      guard let node = storedNodes[id.index] else {
        preconditionFailure("node \(id.index) was removed")
      }
      return node
    }
    set {
      if let old = storedNodes[id.index], old.operands != newValue.operands {
        forgetReads(of: old)
        noteReads(of: newValue)
      }
      storedNodes[id.index] = newValue
    }
  }

  public func contains(_ id: NodeID) -> Bool {
    storedNodes.indices.contains(id.index) && storedNodes[id.index] != nil
  }

  public func contains(_ id: ValueID) -> Bool {
    values.indices.contains(id.index) && values[id.index] != nil
  }

  public func type(of id: ValueID) -> TensorType { self[id].type }

  /// The node that defines `value`; nil for inputs and parameters.
  public func producer(of value: ValueID) -> Node? {
    guard case .result(let node, _) = self[value].definition else { return nil }
    return self[node]
  }

  public func parameter(named name: String) -> ValueID? {
    parameters.first { self[$0].name == name }
  }

  public func isOutput(_ value: ValueID) -> Bool { outputs.contains { $0.value == value } }

  /// Whether any value grows with the dynamic batch N.
  public var hasFreeBatch: Bool {
    inputs.contains { self[$0].type.shape.dependsOnBatch }
  }

  /// The nodes that read `value`, in no order, each once for every operand. Takes no search.
  public func readers(of value: ValueID) -> [NodeID] {
    readers.indices.contains(value.index) ? readers[value.index] : []
  }

  // MARK: Building

  @discardableResult
  public mutating func addInput(_ name: String, _ type: TensorType) -> ValueID {
    let id = addValue(Value(name: name, type: type, definition: .input))
    inputs.append(id)
    return id
  }

  @discardableResult
  public mutating func addParameter(
    _ name: String, _ type: TensorType, _ parameter: Parameter = Parameter()
  ) -> ValueID {
    addValue(Value(name: name, type: type, definition: .parameter(parameter)))
  }

  /// Adds a node at the end, or before another one.
  /// - Returns: the values that it defines, one for each of `types`.
  @discardableResult
  public mutating func addNode(
    _ opcode: Opcode, _ operands: [ValueID?], _ attributes: Attributes = [:], types: [TensorType],
    names: [String?] = [], origins: [String] = [], before successor: NodeID? = nil
  ) -> [ValueID] {
    let id = NodeID(storedNodes.count)
    let results = types.indices.map { index in
      addValue(
        Value(
          name: index < names.count ? names[index] : nil, type: types[index],
          definition: .result(node: id, index: index)))
    }
    let node = Node(
      id: id, opcode: opcode, operands: operands, results: results, attributes: attributes,
      origins: origins)
    storedNodes.append(node)
    noteReads(of: node)
    if let successor, let position = order.firstIndex(of: successor) {
      order.insert(id, at: position)
    } else {
      order.append(id)
    }
    return results
  }

  private mutating func addValue(_ value: Value) -> ValueID {
    values.append(value)
    readers.append([])
    return ValueID(values.count - 1)
  }

  // MARK: Readers

  /// Invalid operands are reported by the verifier.
  mutating func noteReads(of node: Node) {
    for case let operand? in node.operands where readers.indices.contains(operand.index) {
      readers[operand.index].append(node.id)
    }
  }

  mutating func forgetReads(of node: Node) {
    for case let operand? in node.operands where readers.indices.contains(operand.index) {
      if let place = readers[operand.index].lastIndex(of: node.id) {
        readers[operand.index].remove(at: place)
      }
    }
  }
}
