// ONNX If whose condition is known at compile time: the nodes of the branch that holds stand in its place.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Converter {
  /// Converts the nodes of the branch that the condition chooses.
  ///
  /// Source: ONNX If, opsets 1, 11, 13, 16, 19, 21; https://onnx.ai/onnx/operators/onnx__If.html
  /// - Throws: ``GraftError`` of kind `unsupported` where the condition is computed while the network runs.
  mutating func convertIf(_ node: FileNode, _ place: Int) throws {
    guard let condition = node.inputs.first, !condition.isEmpty else {
      throw GraftError(.invalidModel, "its condition is missing")
    }
    if isFailed(condition) {
      for output in node.outputs where !output.isEmpty { set(output, .failed) }
      return
    }
    let known = try input(condition)?.integers
    guard let known, known.elements.count == 1, let value = known.elements[0].constant else {
      let reason =
        known == nil ? "is computed while the network runs" : "depends on the batch size"
      throw GraftError(
        .unsupported,
        "its condition \(condition.quotedForDisplay) \(reason); Graft compiles the one branch that a "
          + "constant condition chooses",
        advice:
          "Export the network with the condition fixed, or give the shapes that it depends on: "
          + "--input-shape x=1x3x224x224.")
    }
    let name = value != 0 ? "then_branch" : "else_branch"
    guard case .graphs(let graphs)? = node.attribute(name)?.value, let branch = graphs.first else {
      throw GraftError(.invalidModel, "attribute \(name.quotedForDisplay) is missing")
    }
    try inline(branch, of: node, place)
  }

  /// Puts a branch's nodes in the place of `node`. What the branch defines is named after the node.
  private mutating func inline(_ branch: FileGraph, of node: FileNode, _ place: Int) throws {
    var branch = branch
    guard branch.inputs.isEmpty, branch.outputs.count >= node.outputs.count else {
      throw GraftError(
        .invalidModel,
        "its branch has \(branch.inputs.count) inputs and \(branch.outputs.count) outputs, expected "
          + "none and \(node.outputs.count)")
    }
    guard branch.sparseInitializers.isEmpty else {
      throw GraftError(.unsupported, "its branch has sparse initializers")
    }
    branch.removeUnreadNodes()
    try branch.sortNodes()
    try count(inlined: branch.nodes.count)
    var names = NameTable<String>()
    func define(_ own: String) throws {
      guard !own.isEmpty else { return }
      guard names[own] == nil else {
        throw GraftError(.invalidModel, "its branch defines \(own.quotedForDisplay) twice")
      }
      var name = "\(node.displayName)/\(own)"
      while imported(name) != nil { name += "'" }
      names[own] = name
    }
    for tensor in branch.initializers {
      try define(tensor.name)
      try setInitializer(names[tensor.name] ?? "", tensor)
    }
    for inner in branch.nodes { for output in inner.outputs { try define(output) } }
    func renamed(_ name: String) -> String { name.isEmpty ? "" : names[name] ?? name }
    let nodes = branch.nodes.map { inner -> FileNode in
      var copy = inner
      copy.name = "\(node.displayName)/\(inner.displayName)"
      copy.inputs = inner.inputs.map(renamed)
      copy.outputs = inner.outputs.map(renamed)
      copy.renameCaptures(renamed)
      return copy
    }
    read(names: nodes.flatMap(\.inputs) + branch.outputs.map { renamed($0.name) })
    for inner in nodes { try convertReporting(inner, place) }
    for (own, output) in zip(branch.outputs, node.outputs) where !output.isEmpty {
      let source = renamed(own.name)
      guard let value = imported(source) else {
        throw GraftError(
          .invalidModel, "output \(own.name.quotedForDisplay) of its branch is not computed")
      }
      alias(output, to: value, named: source)
    }
  }
}
