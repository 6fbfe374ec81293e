// Checks ONNX's rules about names with specific messages before libonnx's checker, which stops at the first
// violation and does not distinguish a cycle, a missing initializer and a wrong order.

import GraftDiagnostics
import GraftOps

/// Checks one graph. Constraints: names of inputs, initializers and results are unique; whatever a
/// node reads is defined; every output is defined.
struct StructureCheck {
  private let graph: FileGraph
  private(set) var warnings: [Warning] = []
  /// The index of the node that computes each value.
  private var producers = NameTable<Int>()
  /// Values that are defined before any node: inputs and initializers.
  private var given = NameTable<Bool>()

  init(_ graph: FileGraph) { self.graph = graph }

  /// Checks that opsets and IR version are present and supported.
  static func check(versionsOf model: FileModel) throws {
    guard model.irVersion > 0 else {
      throw GraftError(.invalidModel, "the model has no ONNX IR version")
    }
    guard let opset = model.opsets[""] else {
      guard model.opsets.isEmpty else {
        let domains = model.opsets.keys.sorted().map(\.quotedForDisplay).joined(separator: ", ")
        throw GraftError(
          .unsupported,
          "the model has only operators of \(domains); Graft supports those of ONNX's default domain",
          advice: "docs/operators.md lists the supported operators.")
      }
      throw GraftError(.invalidModel, "the model does not import ONNX's default operator set")
    }
    let supported = ONNXBinding.supportedOpsets
    guard supported.contains(opset) else {
      throw GraftError(
        .unsupported,
        "the model has opset \(opset), Graft supports "
          + "\(supported.lowerBound) to \(supported.upperBound)",
        advice: "Export it again with an opset in that range, or convert it with "
          + "onnx.version_converter.")
    }
  }

  mutating func run() throws {
    try collectGiven()
    try collectResults()
    try checkInputs()
    guard !graph.outputs.isEmpty else {
      throw GraftError(.invalidModel, "the graph has no output")
    }
    var seen = NameTable<Bool>()
    for output in graph.outputs {
      guard given.contains(output.name) || producers.contains(output.name) else {
        throw GraftError(
          .invalidModel, "output \(output.name.quotedForDisplay) is not computed by any node")
      }
      guard !seen.contains(output.name) else {
        throw GraftError(.invalidModel, "two outputs are named \(output.name.quotedForDisplay)")
      }
      seen[output.name] = true
    }
  }

  private mutating func collectGiven() throws {
    if let sparse = graph.sparseInitializers.first {
      throw GraftError(
        .unsupported,
        "initializer \(sparse.quotedForDisplay) is sparse, which Graft does not "
          + "handle")
    }
    var inputs = NameTable<Bool>()
    for input in graph.inputs {
      guard !input.name.isEmpty else {
        throw GraftError(.invalidModel, "an input of the graph has no name")
      }
      guard !inputs.contains(input.name) else {
        throw GraftError(.invalidModel, "two inputs are named \(input.name.quotedForDisplay)")
      }
      inputs[input.name] = true
    }
    for tensor in graph.initializers {
      guard !tensor.name.isEmpty else {
        throw GraftError(.invalidModel, "an initializer has no name")
      }
      guard !given.contains(tensor.name) else {
        throw GraftError(
          .invalidModel, "two initializers are named \(tensor.name.quotedForDisplay)")
      }
      given[tensor.name] = true
    }
    for input in graph.inputs { given[input.name] = true }
  }

  private mutating func collectResults() throws {
    for (place, node) in graph.nodes.enumerated() {
      guard !node.opType.isEmpty else {
        throw GraftError(.invalidModel, "it has no operator", at: location(node))
      }
      for output in node.outputs where !output.isEmpty {
        if given.contains(output) {
          throw GraftError(
            .invalidModel,
            "its output \(output.quotedForDisplay) has the name of an input or "
              + "initializer too", at: location(node))
        }
        if let other = producers[output] {
          throw GraftError(
            .invalidModel,
            "its output \(output.quotedForDisplay) is also an output of node "
              + "\(graph.nodes[other].displayName.quotedForDisplay)", at: location(node))
        }
        producers[output] = place
      }
    }
  }

  private func checkInputs() throws {
    for node in graph.nodes {
      for input in node.inputs where !input.isEmpty && !given.contains(input) {
        guard producers.contains(input) else {
          throw GraftError(
            .invalidModel,
            "its input \(input.quotedForDisplay) is missing: no input, initializer "
              + "or node has this name", at: location(node))
        }
      }
    }
  }

  private func location(_ node: FileNode) -> SourceLocation {
    SourceLocation(node: node.displayName, operatorName: node.qualifiedType)
  }
}
