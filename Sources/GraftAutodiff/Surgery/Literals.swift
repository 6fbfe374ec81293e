// Parameters that are constants of the network's code rather than weights: a GELU's √2 and ½, the mean and
// standard deviation that normalize images, the scale of a BatchNorm without affine parameters. They do not
// train, as in PyTorch.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The parameters that do not train, each with the reason.
public struct Literals: Sendable {
  public enum Reason: String, Sendable, CaseIterable {
    case constant = "constants of the graph's nodes"
    case scalar = "scalars"
    case statistic = "mean or standard deviation of a normalization"
    case preprocessing = "preprocessing of the input"
    case identity = "ones and zeros of a BatchNorm"
  }

  public private(set) var reasons: [ValueID: Reason] = [:]

  /// A parameter is a literal if every node that reads it uses it as one.
  public init(_ graph: Graph) {
    let fromInput = graph.values(dependingOn: graph.inputs)
    var weighted = Set<ValueID>()
    var trained = Set<ValueID>()
    for node in graph.nodes {
      if Self.holdsWeights(node, in: graph)
        || node.presentOperands.contains(where: weighted.contains)
      {
        weighted.formUnion(node.results)
      }
      for index in node.operands.indices {
        guard let value = node.operands[index], let parameter = graph[value].parameter else {
          continue
        }
        let others = node.presentOperands.filter { graph[$0].parameter == nil }
        let isEarly =
          !others.isEmpty
          && others.allSatisfy {
            fromInput.contains($0) && !weighted.contains($0)
          }
        let isOfInput = others.contains(where: fromInput.contains)
        let reason =
          parameter.isLiteral
          ? .constant
          : Self.reason(node, index, value, isEarly: isEarly, isOfInput: isOfInput, in: graph)
        if let reason {
          reasons[value] = reasons[value] ?? reason
        } else {
          trained.insert(value)
        }
      }
    }
    for value in trained { reasons[value] = nil }
  }

  public func contains(_ value: ValueID) -> Bool { reasons[value] != nil }

  /// Operators whose parameters are always weights: products, scales and embeddings.
  private static func holdsWeights(_ node: Node, in graph: Graph) -> Bool {
    if Head.hasWeights(node, in: graph) { return true }
    guard let type = Catalog.type(of: node.opcode) else { return false }
    return node.operands.enumerated().contains { position, operand in
      let role = type.role(at: position)
      return (role.isStatistic || role == .scale || role == .table)
        && operand.flatMap { graph[$0].parameter?.isLiteral } == false
    }
  }

  private static func reason(
    _ node: Node, _ index: Int, _ value: ValueID, isEarly: Bool, isOfInput: Bool,
    in graph: Graph
  ) -> Reason? {
    guard let type = Catalog.type(of: node.opcode) else { return nil }
    if type is any ChannelwiseOperator.Type {
      let isAffine = [.scale, .bias].contains(type.role(at: index))
      return isAffine && isIdentity(node, type, in: graph) ? .identity : nil
    }
    let binary = type as? any BinaryElementwise.Type
    guard binary != nil || type is any VariadicElementwise.Type,
      type.role(at: index) == .value
    else { return nil }
    if graph.type(of: value).shape.elementCount == 1 {
      if binary?.isCommutative == true, isNameOfState(graph[value].name ?? "") { return nil }
      let isSum = binary?.isCommutative == true && type.neutral(at: index) == 0
      return isSum && isBiasOfOneUnit(node, value, in: graph) ? nil : .scalar
    }
    // What is taken from, or divides, computed activations; weight normalization divides weights.
    if binary?.isCommutative == false { return isOfInput && index == 1 ? .statistic : nil }
    return isEarly ? .preprocessing : nil
  }

  /// A scalar gain with a dotted name from PyTorch's state dictionary: `stem.gain`.
  private static func isNameOfState(_ name: String) -> Bool {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count >= 2, !name.lowercased().contains("constant") else { return false }
    return parts.allSatisfy { part in
      !part.isEmpty && part.allSatisfy { $0.isLetter || $0.isNumber || $0 == "_" }
    } && !["mean", "std", "var"].contains(parts[parts.count - 1])
  }

  private static func isBiasOfOneUnit(_ node: Node, _ value: ValueID, in graph: Graph) -> Bool {
    node.presentOperands.contains { operand in
      operand != value && graph.producer(of: operand).map { Head.hasWeights($0, in: graph) } == true
        && graph.type(of: operand).shape.dimensions.dropFirst().first == 1
    }
  }

  /// PyTorch exports `affine=False` as ones and zeros. An untrained affine BatchNorm also has them, but with
  /// the names of weights.
  private static func isIdentity(
    _ node: Node, _ type: any Operator.Type, in graph: Graph
  ) -> Bool {
    [OperandRole.scale, .bias].allSatisfy { role in
      guard let wanted = role.neutral,
        let value = type.position(of: role).flatMap({ node.operand($0) }),
        let parameter = graph[value].parameter
      else { return false }
      let last = (graph[value].name ?? "").split { $0 == "." || $0 == "/" }.last ?? ""
      return !["weight", "bias", "gamma", "beta"].contains(last)
        && parameter.data?.floats().allSatisfy { Double($0) == wanted } == true
    }
  }
}
