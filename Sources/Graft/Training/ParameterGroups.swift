// Parameter groups: the head, and the other unfrozen layers as one group or one group per layer.

import GraftAutodiff
import GraftIR
import GraftOps

/// The trained parameters, each in a group with a learning rate factor.
struct ParameterGroups {
  /// The index of each trained parameter's group, by name.
  private(set) var groups: [String: Int] = [:]
  private(set) var names = ["head"]
  /// The learning rate factor of each group.
  private(set) var rates: [Double]

  /// - Parameters:
  ///   - trained: the names of the trained parameters of `tail`, in the order in which they are read.
  ///   - heads: the node of the head of each output in `network`, of which `tail` is a part.
  init(
    _ trained: [String], of tail: Graph, heads: [Node], in network: Graph,
    _ options: TrainingChoices
  ) {
    rates = [options.headRateFactor]
    let branches = tail.outputs.map { output in
      var branch = tail.keepingOnly(output)
      branch.removeDeadCode()
      return branch
    }
    let headNames = zip(branches, heads).reduce(into: Set<String>()) { names, part in
      names.formUnion(Self.headParameters(of: part.0, head: part.1, in: network))
    }
    let others = trained.filter { !headNames.contains($0) }
    for name in trained where headNames.contains(name) { groups[name] = 0 }
    guard !others.isEmpty else { return }
    guard options.layerDecay < 1 else {
      names.append("tail")
      rates.append(1)
      for name in others { groups[name] = 1 }
      return
    }
    let depths = Self.depths(of: branches.first ?? tail, behind: headNames)
    for depth in Set(others.map { depths[$0] ?? 1 }).sorted() {
      for name in others where (depths[name] ?? 1) == depth { groups[name] = names.count }
      names.append("layer-\(depth)")
      rates.append((0..<depth).reduce(1) { rate, _ in rate * options.layerDecay })
    }
  }

  /// The parameters of the head, of its hidden layer, and of operators after it.
  private static func headParameters(
    of tail: Graph, head: Node, in network: Graph
  ) -> Set<String> {
    guard let first = head.operand(1), let weight = network[first].name else { return [] }
    let base = weight.hasSuffix(".weight") ? String(weight.dropLast(7)) : weight
    let nodes = tail.nodes.drop { node in
      !node.presentOperands.contains { operand in
        guard tail[operand].parameter != nil, let own = tail[operand].name else { return false }
        return own == weight || own.hasPrefix(base + ".hidden.")
      }
    }
    return Set(
      nodes.flatMap(\.presentOperands).compactMap {
        tail[$0].parameter == nil ? nil : tail[$0].name
      })
  }

  /// The depth of each parameter's layer: the number of operators with weights from it to the head, including
  /// its own. A layer is an operator with weights and all operators up to the next one in execution order;
  /// parameters before the first belong to the first.
  private static func depths(of tail: Graph, behind head: Set<String>) -> [String: Int] {
    func parameters(_ node: Node) -> [String] {
      node.presentOperands.compactMap { tail[$0].parameter == nil ? nil : tail[$0].name }
    }
    let nodes = tail.nodes.filter { !parameters($0).contains(where: head.contains) }
    let layers = nodes.count { Head.hasWeights($0, in: tail) }
    var depths: [String: Int] = [:]
    var passed = 0
    for node in nodes {
      if Head.hasWeights(node, in: tail) { passed += 1 }
      for name in parameters(node) where depths[name] == nil {
        depths[name] = max(1, layers - max(1, passed) + 1)
      }
    }
    return depths
  }
}
