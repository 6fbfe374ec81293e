// Lists every node whose operator Graft does not have, before any work is done on the others.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Nodes that cannot be compiled, collected to be told together.
struct UnsupportedNodes {
  private var lines: [String] = []

  var isEmpty: Bool { lines.isEmpty }

  mutating func add(_ node: FileNode, reason: String) {
    add(node.displayName, operatorName: node.qualifiedType, reason: reason)
  }

  mutating func add(_ name: String, operatorName: String, reason: String) {
    lines.append(
      "node \(name.quotedForDisplay) (\(operatorName.escapedForDisplay)): \(reason)")
  }

  /// - Throws: ``GraftError`` of kind `unsupported` that lists them, if there is any.
  func throwIfAny() throws {
    guard !lines.isEmpty else { return }
    let count = lines.count == 1 ? "1 node" : "\(lines.count) nodes"
    throw GraftError(
      .unsupported, "\(count) cannot be compiled:\n    " + lines.joined(separator: "\n    "),
      advice: "docs/operators.md lists what Graft compiles.")
  }
}

enum SupportCheck {
  /// - Throws: ``GraftError`` of kind `unsupported` with every node that has no binding.
  static func check(_ model: FileModel) throws {
    var unsupported = UnsupportedNodes()
    let opset = model.opsets[""] ?? 0
    for node in model.graph.nodes {
      if let reason = reason(node, opset: opset) { unsupported.add(node, reason: reason) }
    }
    try unsupported.throwIfAny()
  }

  /// Operators of shape arithmetic have no kernels: one that depends on an input or the batch cannot
  /// run.
  /// Those of weights alone stay, for the passes to fold.
  /// - Throws: ``GraftError`` of kind `unsupported` with every such node.
  static func checkNothingLeft(ofShapeArithmetic graph: Graph) throws {
    var unsupported = UnsupportedNodes()
    var computed = Set(graph.inputs)
    for node in graph.nodes {
      // A constant of a shape with the batch in it is as unknown as an input.
      let isUnknown =
        node.presentOperands.contains(where: computed.contains)
        || node.results.contains {
          node.operands.isEmpty && graph.type(of: $0).shape.dependsOnBatch
        }
      guard isUnknown else { continue }
      computed.formUnion(node.results)
      let operation = try Catalogue.operation(of: node)
      let type = Swift.type(of: operation)
      guard
        operation.isCompileTimeOnly(
          operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node))
      else { continue }
      unsupported.add(
        node.origins.first ?? "", operatorName: type.onnx.first?.opType ?? type.opcode.rawValue,
        reason: "it is not known while compiling; Graft has this operator for shapes alone")
    }
    try unsupported.throwIfAny()
  }

  private static func reason(_ node: FileNode, opset: Int) -> String? {
    guard node.domain.isEmpty else {
      return "Graft has no operators of the domain \(node.domain.quotedForDisplay)"
    }
    if Converter.rewrittenOperators.contains(node.opType) { return nil }
    let bindings = Catalogue.bindings(onnx: node.opType)
    if bindings.isEmpty { return "Graft has no such operator" }
    guard bindings.contains(where: { $0.opsets.contains(opset) }) else {
      let ranges = bindings.map { "\($0.opsets.lowerBound) to \($0.opsets.upperBound)" }
      return "Graft reads it in opset \(ranges.joined(separator: ", ")), the model has \(opset)"
    }
    return nil
  }
}
