// Reverse-mode differentiation of a graph: which values need a gradient, the operators' gradient rules in
// reverse order, and the accumulation of gradients from several readers.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Graph {
  /// The values that depend on any of `sources`, these included.
  func values(dependingOn sources: [ValueID]) -> Set<ValueID> {
    var dependent = Set(sources)
    for node in nodes where node.presentOperands.contains(where: dependent.contains) {
      dependent.formUnion(node.results)
    }
    return dependent
  }

  /// Appends nodes that compute the gradients of `sources`, parameters or inputs, given those of some
  /// values, and only what these need (Griewank and Walther 2008, chapter 3).
  ///
  /// - Parameter seeds: values with the gradient of the quantity that is differentiated.
  /// - Returns: the gradient of each source on which a seed depends.
  /// - Throws: ``GraftError`` of kind `unsupported` that names the node without a gradient.
  public mutating func appendGradients(
    of seeds: [(value: ValueID, gradient: ValueID)], withRespectTo sources: [ValueID]
  ) throws -> [ValueID: ValueID] {
    let forward = nodes
    let wanted = values(dependingOn: sources)
    var gradients: [ValueID: ValueID] = [:]
    for seed in seeds { try add(seed.gradient, to: seed.value, in: &gradients, origins: []) }
    for node in forward.reversed() {
      let incoming = node.results.map { gradients[$0] }
      guard incoming.contains(where: { $0 != nil }),
        node.presentOperands.contains(where: wanted.contains)
      else { continue }
      let outgoing = try GradientBuilder.gradients(
        of: node, in: &self, resultGradients: incoming, wanted: wanted)
      for (operand, gradient) in zip(node.operands, outgoing) {
        guard let operand, let gradient, wanted.contains(operand) else { continue }
        try add(gradient, to: operand, in: &gradients, origins: node.origins)
      }
    }
    let asked = Set(sources)
    return gradients.filter { asked.contains($0.key) }
  }

  private mutating func add(
    _ gradient: ValueID, to value: ValueID, in gradients: inout [ValueID: ValueID],
    origins: [String]
  ) throws {
    guard let sum = gradients[value] else {
      gradients[value] = gradient
      return
    }
    gradients[value] = try append(Add(), [sum, gradient], origins: origins)[0]
  }

  /// The nodes on the gradient paths of `parameters` that have no gradient, with the reason: every node's
  /// rule is tried on a copy of the graph.
  public func obstacles(
    toGradientsOf parameters: [ValueID], from outputs: [ValueID]
  ) throws -> [(node: Node, reason: String)] {
    let wanted = values(dependingOn: parameters)
    var needed = Set(outputs)
    var found: [(node: Node, reason: String)] = []
    var scratch = self
    for node in nodes.reversed() where node.results.contains(where: needed.contains) {
      guard node.presentOperands.contains(where: wanted.contains) else { continue }
      needed.formUnion(node.presentOperands)
      do {
        // A gradient has the type of its value.
        let incoming = node.results.map { needed.contains($0) ? $0 : nil }
        _ = try GradientBuilder.gradients(
          of: node, in: &scratch, resultGradients: incoming, wanted: wanted)
      } catch let error as GraftError where error.kind == .unsupported {
        found.append((node, error.message))
      }
    }
    return found.reversed()
  }
}
