// Evaluates during import constant expressions that need an operator without a kernel, such as the norm of a
// weight normalization, or that convert integers to floats. Other computed weights remain nodes, which passes
// fold, so that the file's weights can still be trained.

import GraftDiagnostics
import GraftIR
import GraftOps

enum ConstantTrees {
  /// A single node with more multiplications would take minutes.
  private static let largestCost = 1 << 36

  /// Replaces the nodes by parameters, including their constant operands and the constants computed from
  /// them.
  /// - Throws: ``GraftError`` of kind `unsupported` if that would take too much memory or time.
  static func fold(_ graph: inout Graph, budget: inout FoldingBudget) throws {
    for node in try nodes(of: graph) {
      try at(graph.location(of: node)) { try evaluate(node, &graph, &budget) }
    }
  }

  /// The nodes to evaluate, in the order of execution.
  private static func nodes(of graph: Graph) throws -> [Node] {
    var known = Set(graph.parameters)
    var constants: [Node] = []
    // Nodes that must be evaluated, and nodes computed from them.
    var tainted = Set<ValueID>()
    for node in graph.nodes {
      let types = graph.resultTypes(of: node)
      guard node.presentOperands.allSatisfy(known.contains),
        types.allSatisfy({ !$0.shape.dependsOnBatch })
      else { continue }
      known.formUnion(node.results)
      constants.append(node)
      let operation = try Catalog.operation(of: node)
      if operation is any StorageOperator, !node.results.contains(where: graph.isOutput) {
        // Passes read what it stores, which must be there.
        tainted.formUnion(node.presentOperands.filter { graph[$0].parameter == nil })
        continue
      }
      let isCompileTimeOnly = operation.isCompileTimeOnly(
        operands: graph.operandTypes(of: node), results: types)
      // Integers do not train, so the converted floats are the weight.
      let becomesReal =
        types.allSatisfy(\.dtype.isFloatingPoint)
        && !graph.operandTypes(of: node).contains { $0?.dtype.isFloatingPoint == true }
      if isCompileTimeOnly || becomesReal || node.presentOperands.contains(where: tainted.contains)
      {
        tainted.formUnion(node.results)
      }
    }
    for node in constants.reversed() where node.results.contains(where: tainted.contains) {
      tainted.formUnion(node.presentOperands)
    }
    return constants.filter { $0.results.contains(where: tainted.contains) }
  }

  private static func evaluate(
    _ original: Node, _ graph: inout Graph, _ budget: inout FoldingBudget
  ) throws {
    // Read again, because its operands have become parameters.
    let node = graph[original.id]
    let operation = try Catalog.operation(of: node)
    let types = graph.resultTypes(of: node)
    let cost = operation.cost(operands: graph.operandTypes(of: node), results: types)
    guard cost.multiplyAdds <= Self.largestCost else {
      throw GraftError(.unsupported, "computing it while importing would take too long")
    }
    for type in types { try budget.take(type.shape.elementCount?.constant ?? 0, of: type.dtype) }
    let isLiteral = node.presentOperands.allSatisfy {
      graph[$0].parameter?.isLiteral == true || !graph.type(of: $0).dtype.isFloatingPoint
    }
    let title = (node.origins.first ?? "").quotedForDisplay
    try graph.replaceByConstants(
      node, named: "\(node.origins.first ?? node.opcode.rawValue).folded",
      derivation: "folded \(node.opcode) \(title)", isLiteral: isLiteral)
    // Free values after their last use.
    for operand in Set(node.presentOperands)
    where graph.readers(of: operand).isEmpty && !graph.isOutput(operand) {
      graph.removeParameter(operand)
    }
  }
}
