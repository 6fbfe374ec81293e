// Editing operations for passes: redirect uses, remove, reorder.

import GraftDiagnostics

extension Graph {
  /// Makes every reader of `old`, and every output, read `new` instead.
  public mutating func replaceUses(of old: ValueID, with new: ValueID) {
    for id in Set(readers(of: old)) {
      self[id].operands = self[id].operands.map { $0 == old ? new : $0 }
    }
    for index in outputs.indices where outputs[index].value == old { outputs[index].value = new }
  }

  /// Removes a node and the values that it defines. They must not have readers; the verifier reports
  /// remaining ones.
  public mutating func remove(_ id: NodeID) {
    guard let node = storedNodes[id.index] else { return }
    for result in node.results { values[result.index] = nil }
    forgetReads(of: node)
    storedNodes[id.index] = nil
    order.removeAll { $0 == id }
  }

  /// Removes a parameter that nothing reads any more.
  public mutating func removeParameter(_ id: ValueID) {
    guard values[id.index]?.parameter != nil else { return }
    values[id.index] = nil
  }

  /// Removes nodes none of whose results is read or an output, and parameters without readers. Inputs are
  /// kept, because they are part of the interface.
  /// - Returns: the removed nodes and the number of removed parameters.
  @discardableResult
  public mutating func removeDeadCode() -> (nodes: [Node], parameters: Int) {
    var live = Set(outputs.map(\.value))
    var dead: [Node] = []
    for node in nodes.reversed() {
      if node.results.contains(where: live.contains) {
        live.formUnion(node.presentOperands)
      } else {
        dead.append(node)
      }
    }
    for node in dead {
      for result in node.results { values[result.index] = nil }
      forgetReads(of: node)
      storedNodes[node.id.index] = nil
    }
    order.removeAll { storedNodes[$0.index] == nil }
    let unread = parameters.filter { !live.contains($0) }
    for parameter in unread { values[parameter.index] = nil }
    return (dead.reversed(), unread.count)
  }

  /// Puts the nodes in `newOrder`, which must hold each of them once.
  /// - Throws: ``GraftError`` of kind `inconsistency` if it does not.
  public mutating func reorder(_ newOrder: [NodeID]) throws {
    guard newOrder.count == order.count, Set(newOrder) == Set(order) else {
      throw GraftError(.inconsistency, "the new order of nodes is not a permutation of the old one")
    }
    order = newOrder
  }

  /// Moves `id` to just before `successor`.
  public mutating func move(_ id: NodeID, before successor: NodeID) {
    guard id != successor, order.contains(id), order.contains(successor) else { return }
    order.removeAll { $0 == id }
    if let position = order.firstIndex(of: successor) { order.insert(id, at: position) }
  }

  /// An unused name derived from `base`.
  public func unusedName(_ base: String) -> String {
    let taken = Set(values.compactMap { $0?.name })
    guard taken.contains(base) else { return base }
    var suffix = 1
    while taken.contains("\(base).\(suffix)") { suffix += 1 }
    return "\(base).\(suffix)"
  }
}
