// Graph changes for passes that preserve the user's names.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Graph {
  /// The identifiers of the nodes in execution order, for iterating while the graph changes.
  var nodeIDs: [NodeID] { nodes.map(\.id) }

  /// The node's names for the log: the user's, or its operator if a pass created it.
  func title(_ node: Node) -> String {
    node.origins.isEmpty
      ? node.opcode.rawValue : node.origins.map(\.quotedForDisplay).joined(separator: "+")
  }

  /// The node that makes `value` and its operator, if that is an `Operation`.
  func producer<Operation: Operator>(
    of value: ValueID?, as: Operation.Type
  ) throws -> (node: Node, operation: Operation)? {
    guard let value, let node = producer(of: value), node.opcode == Operation.opcode,
      let operation = try Catalog.operation(of: node) as? Operation
    else { return nil }
    return (node, operation)
  }

  /// The operands of an addition of two values, and its operator; nil if the node is none.
  func addition(_ node: Node) throws -> (add: Add, a: ValueID, b: ValueID)? {
    guard let add = try operation(node, as: Add.self), node.operands.count == 2,
      let a = node.operand(0), let b = node.operand(1)
    else { return nil }
    return (add, a, b)
  }

  /// The node's operator, if it is an `Operation`.
  func operation<Operation: Operator>(_ node: Node, as: Operation.Type) throws -> Operation? {
    guard node.opcode == Operation.opcode else { return nil }
    return try Catalog.operation(of: node) as? Operation
  }

  /// Replaces the single-result `node` by a new node that also does the work of `absorbed`: it gets the name
  /// of the result and all readers. Absorbed nodes without readers are removed, and the new node gets their
  /// origins, in order.
  @discardableResult
  mutating func replace(
    _ node: Node, with operation: any Operator, _ operands: [ValueID?],
    absorbing absorbed: [Node] = []
  ) throws -> ValueID {
    let old = node.results[0]
    let name = self[old].name
    let result = try append(
      operation, operands, names: [name], origins: node.origins, before: node.id)[0]
    replaceUses(of: old, with: result)
    remove(node.id)
    removeUnread(absorbed)
    if let made = producer(of: result) {
      self[made.id].origins = origins(of: absorbed.filter { !contains($0.id) } + [node])
    }
    return result
  }

  /// Makes readers of the single-result `node` read `value`, which has the same elements, and removes the
  /// node. `value` gets its name if it has none.
  mutating func bypass(_ node: Node, with value: ValueID) {
    let old = node.results[0]
    if self[value].name == nil { self[value].name = self[old].name }
    replaceUses(of: old, with: value)
    if let producer = producer(of: value) {
      self[producer.id].origins = origins(of: [producer, node])
    }
    remove(node.id)
  }

  /// Removes those of `nodes` without readers, readers before their operands.
  mutating func removeUnread(_ nodes: [Node]) {
    var pending = nodes
    var isChanging = true
    while isChanging {
      isChanging = false
      let uses = Uses(self)
      for node in pending
      where contains(node.id) && node.results.allSatisfy({ uses.count($0) == 0 }) {
        remove(node.id)
        pending.removeAll { $0.id == node.id }
        isChanging = true
      }
    }
  }

  /// The origins of several nodes, each once, in the order given.
  func origins(of nodes: [Node]) -> [String] {
    var seen = Set<String>()
    return nodes.flatMap(\.origins).filter { seen.insert($0).inserted }
  }

  /// Adds a parameter that a pass computed in double precision, rounded to float32.
  /// - Returns: nil if an element is not finite in float32; the caller must then not rewrite.
  mutating func addDerived(
    _ base: String, _ elements: [Double], shape: [Int], derivation: String
  ) throws -> ValueID? {
    let rounded = elements.map(Float.init)
    guard rounded.allSatisfy(\.isFinite) else { return nil }
    return addParameter(
      unusedName(base), TensorType(.float32, TensorShape(shape)),
      Parameter(derivation: derivation, data: try TensorData(rounded, shape: shape)))
  }

  /// The name of a parameter, for deriving names and derivation texts from it.
  func name(_ value: ValueID) -> String { self[value].name ?? "%\(value.index)" }
}
