// Lists all nodes with unsupported operators, before any other work.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Nodes that cannot be compiled, collected for one error.
struct UnsupportedNodes {
  /// With more nodes than this, they are first summarized by operator.
  private static let mostLines = 10
  private static let mostAdvice = 3

  private struct Entry {
    var name: String
    var operatorName: String
    var reason: String
  }

  private var entries: [Entry] = []
  private var advice: [String] = []

  var isEmpty: Bool { entries.isEmpty }

  mutating func add(_ node: FileNode, _ error: GraftError) {
    add(node, reason: error.message, advice: error.advice)
  }

  mutating func add(_ node: FileNode, reason: String, advice: String? = nil) {
    add(node.displayName, operatorName: node.qualifiedType, reason: reason, advice: advice)
  }

  mutating func add(
    _ name: String, operatorName: String, reason: String, advice words: String? = nil
  ) {
    entries.append(
      Entry(name: name, operatorName: operatorName, reason: reason.withoutConstraintLabel))
    if let words, !advice.contains(words), advice.count < Self.mostAdvice { advice.append(words) }
  }

  /// - Throws: ``GraftError`` of kind `unsupported` that lists them, if there is any.
  func throwIfAny() throws {
    guard !entries.isEmpty else { return }
    let count = entries.count == 1 ? "1 node" : "\(entries.count) nodes"
    var lines = entries.prefix(Self.mostLines).map { entry in
      "node \(entry.name.quotedForDisplay) (\(entry.operatorName.escapedForDisplay)): "
        + entry.reason
    }
    if entries.count > Self.mostLines {
      lines = operatorLines + ["the first of them:"] + lines
      lines.append("… and \(entries.count - Self.mostLines) more")
    }
    throw GraftError(
      .unsupported, "\(count) cannot be compiled:\n    " + lines.joined(separator: "\n    "),
      advice: (advice + ["docs/operators.md lists the supported operators."]).joined(
        separator: "\n  "))
  }

  /// A line for each operator and reason, the most frequent first.
  private var operatorLines: [String] {
    var counts: [String: Int] = [:]
    var order: [String] = []
    for entry in entries {
      let line = "\(entry.operatorName.escapedForDisplay): \(entry.reason)"
      if counts.updateValue((counts[line] ?? 0) + 1, forKey: line) == nil { order.append(line) }
    }
    let sorted = order.enumerated().sorted { left, right in
      let (a, b) = (counts[left.element] ?? 0, counts[right.element] ?? 0)
      return a != b ? a > b : left.offset < right.offset
    }
    let most = sorted.prefix(Self.mostLines).map { "\(counts[$0.element] ?? 0) × \($0.element)" }
    let rest = sorted.count - most.count
    return most + (rest > 0 ? ["… and \(rest) other kinds"] : [])
  }
}

enum SupportCheck {
  /// - Throws: ``GraftError`` of kind `unsupported` with every node that has no binding.
  static func check(_ model: FileModel) throws {
    var unsupported = UnsupportedNodes()
    let opset = model.opsets[""] ?? 0
    for node in model.graph.nodes {
      if let reason = reason(node, opset: opset) {
        unsupported.add(node, reason: reason, advice: advice(node))
      }
    }
    try unsupported.throwIfAny()
  }

  /// Operators without kernels that depend on an input or the batch cannot run. Those of weights alone have
  /// been evaluated.
  /// - Throws: ``GraftError`` of kind `unsupported` with every such node.
  static func checkNothingLeft(ofShapeArithmetic graph: Graph) throws {
    var unsupported = UnsupportedNodes()
    var computed = Set(graph.inputs)
    for node in graph.nodes {
      // A constant whose shape depends on the batch is unknown, like an input.
      let isUnknown =
        node.presentOperands.contains(where: computed.contains)
        || node.results.contains {
          node.operands.isEmpty && graph.type(of: $0).shape.dependsOnBatch
        }
      guard isUnknown else { continue }
      computed.formUnion(node.results)
      let operation = try Catalog.operation(of: node)
      let (operands, results) = (graph.operandTypes(of: node), graph.resultTypes(of: node))
      guard operation.isCompileTimeOnly(operands: operands, results: results) else { continue }
      // One operator may represent several ONNX operators; its exported form says which.
      let written = try (operation as? any ONNXExportable)?.exported(
        operands: operands, results: results, opset: 18)
      unsupported.add(
        node.origins.first ?? "", operatorName: written?.opType ?? node.opcode.rawValue,
        reason:
          "it is not known at compile time; Graft supports this operator only for shapes and weights "
          + "alone",
        advice: operation.compileTimeAdvice)
    }
    try unsupported.throwIfAny()
  }

  /// Why Graft does not support an operator; nil if it does.
  static func reason(_ node: FileNode, opset: Int) -> String? {
    if !node.domain.isEmpty {
      return ONNXFunction.find(node.opType, domain: node.domain, opset: opset) == nil
        ? "Graft does not support this operator of the domain \(node.domain.quotedForDisplay)" : nil
    }
    if Converter.rewrittenOperators.contains(node.opType) { return nil }
    if ONNXFunction.find(node.opType, opset: opset) != nil { return nil }
    if countingOperators.contains(node.opType) {
      return
        "how many results it has depends on what the network computes, but Graft knows all shapes "
        + "at compile time"
    }
    let bindings = Catalog.bindings(onnx: node.opType)
    if bindings.isEmpty { return "Graft does not support this operator" }
    guard bindings.contains(where: { $0.opsets.contains(opset) }) else {
      let ranges = bindings.map { "\($0.opsets.lowerBound) to \($0.opsets.upperBound)" }
      return "Graft supports it in opset \(ranges.joined(separator: ", ")), the model has \(opset)"
    }
    return nil
  }

  /// Operators with as many results as the data says.
  private static let countingOperators: Set<String> = ["NonMaxSuppression", "Unique"]

  /// What to do about a node; nil for no advice.
  private static func advice(_ node: FileNode) -> String? {
    guard node.domain.isEmpty, countingOperators.contains(node.opType) else { return nil }
    let names = node.inputs.filter { !$0.isEmpty }.map { "\"\($0)\"" }.joined(separator: ", ")
    return
      "Cut the network in front of \(node.opType.escapedForDisplay) and compute the rest from its outputs: "
      + "onnx.utils.extract_model(\"network.onnx\", \"cut.onnx\", inputs, [\(names.escapedForDisplay)])."
  }
}
