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

  /// The values through which a gradient can reach `sources`. Comparisons and indices are constants to a gradient.
  private func values(leadingGradientsTo sources: [ValueID]) -> Set<ValueID> {
    var found = Set(sources)
    for node in nodes where node.presentOperands.contains(where: found.contains) {
      found.formUnion(node.results.filter { type(of: $0).dtype.isFloatingPoint })
    }
    return found
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
    let wanted = values(leadingGradientsTo: sources)
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
  /// rule is tried on a copy of the graph. A comparison is one where a parameter has no other path to the
  /// outputs.
  public func obstacles(
    toGradientsOf parameters: [ValueID], from outputs: [ValueID]
  ) throws -> [(node: Node, reason: String)] {
    let wanted = values(leadingGradientsTo: parameters)
    var needed = Set(outputs)
    var found: [(node: Node, reason: String)] = []
    var scratch = self
    for node in nodes.reversed() where node.results.contains(where: needed.contains) {
      guard node.presentOperands.contains(where: wanted.contains) else { continue }
      needed.formUnion(node.presentOperands.filter { type(of: $0).dtype.isFloatingPoint })
      do {
        // A gradient has the type of its value.
        let incoming = node.results.map { needed.contains($0) ? $0 : nil }
        _ = try GradientBuilder.gradients(
          of: node, in: &scratch, resultGradients: incoming, wanted: wanted)
      } catch let error as GraftError where error.kind == .unsupported {
        found.append((node, error.message))
      }
    }
    let separated = values(dependingOn: parameters.filter { !needed.contains($0) })
    for node in nodes where !node.results.contains(where: { type(of: $0).dtype.isFloatingPoint }) {
      let operands = node.presentOperands.filter { type(of: $0).dtype.isFloatingPoint }
      guard operands.contains(where: separated.contains) else { continue }
      found.append((node, "\(node.opcode) has no gradient"))
    }
    let places = Dictionary(uniqueKeysWithValues: nodes.enumerated().map { ($1.id, $0) })
    return found.sorted { places[$0.node.id, default: 0] < places[$1.node.id, default: 0] }
  }
}
