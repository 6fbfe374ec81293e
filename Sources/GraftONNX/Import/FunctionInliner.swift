// Inlines model-local functions before the other phases. Values inside a call are named after the calling
// node.

import GraftDiagnostics

enum FunctionInliner {
  /// The maximum number of nodes after inlining, because nested functions can grow exponentially.
  static let largestNodeCount = 200_000
  private static let deepestCall = 64

  /// - Throws: ``GraftError``: `invalidModel` for functions that call themselves, `unsupported` where
  ///   a function is written for another operator set or needs defaults that cannot be read.
  static func inline(in model: inout FileModel) throws {
    guard !model.functions.isEmpty else { return }
    var inliner = Inliner(model: model)
    for node in model.graph.nodes { try inliner.add(node, depth: 0) }
    model.graph.nodes = inliner.nodes
    model.functions = []
  }

  private struct Inliner {
    let model: FileModel
    var nodes: [FileNode] = []
    private var functions: [String: FileFunction] = [:]

    init(model: FileModel) {
      self.model = model
      for var function in model.functions {
        function.nodes.captureNames()
        functions["\(function.domain):\(function.name)"] = function
      }
    }

    mutating func add(_ node: FileNode, depth: Int) throws {
      guard let function = functions["\(node.domain):\(node.opType)"] else {
        var node = node
        node.index = nodes.count
        nodes.append(node)
        guard nodes.count <= FunctionInliner.largestNodeCount else {
          throw GraftError(
            .unsupported,
            "with its functions inlined, the model has more than "
              + "\(FunctionInliner.largestNodeCount) nodes")
        }
        return
      }
      let location = SourceLocation(node: node.displayName, operatorName: node.qualifiedType)
      guard depth < FunctionInliner.deepestCall else {
        throw GraftError(
          .invalidModel,
          "functions call each other more than \(FunctionInliner.deepestCall) levels "
            + "deep, or recursively", at: location)
      }
      if let own = function.opsets[""], own != model.opsets[""] {
        throw GraftError(
          .unsupported,
          "its function has opset \(own), the model has "
            + "\(model.opsets[""] ?? 0)", at: location)
      }
      try at(location) { try addBody(of: function, for: node, depth: depth) }
    }

    private mutating func addBody(
      of function: FileFunction, for call: FileNode, depth: Int
    ) throws {
      var names = NameTable<String>()
      for (index, input) in function.inputs.enumerated() {
        names[input] = index < call.inputs.count ? call.inputs[index] : ""
      }
      // An output may be an unchanged input, whose name is already mapped.
      for (index, output) in function.outputs.enumerated() where index < call.outputs.count {
        if names[output] != nil {
          throw GraftError(
            .unsupported, "its function returns an input as an output")
        }
        names[output] = call.outputs[index]
      }
      let prefix = call.displayName
      func renamed(_ name: String) -> String {
        name.isEmpty ? "" : names[name] ?? "\(prefix)/\(name)"
      }
      for (index, inner) in function.nodes.enumerated() {
        var node = inner
        node.inputs = inner.inputs.map(renamed)
        node.outputs = inner.outputs.map(renamed)
        node.name = "\(prefix)/\(inner.name.isEmpty ? "\(inner.opType)_\(index)" : inner.name)"
        node.attributes = try inner.attributes.compactMap { try resolve($0, from: call) }
        node.renameCaptures(renamed)
        try add(node, depth: depth + 1)
      }
    }

    /// An attribute that refers to one of the function's, as the caller gives it; nil if it gives
    /// none.
    private func resolve(_ attribute: FileAttribute, from call: FileNode) throws -> FileAttribute? {
      guard !attribute.reference.isEmpty else { return attribute }
      guard var given = call.attribute(attribute.reference) else {
        // ONNX 1.13 added defaults for them, which the installed onnx.proto does not know.
        guard !model.unknownFields.contains("FunctionProto.11") else {
          throw GraftError(
            .unsupported, "its function has default attribute values, which Graft does not support")
        }
        return nil
      }
      given.name = attribute.name
      return given
    }
  }
}
