// ONNX operators that are functions of others, and inputs that are read under another shape.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Converter {
  /// Puts the operators of an ``ONNXFunction`` in the place of a node that is one. Constants are left to a
  /// binding, which folds them.
  /// - Returns: whether the node was converted.
  mutating func convert(
    _ node: FileNode, _ inputs: [ONNXNode.Input?], _ place: Int, byFunction opset: Int
  ) throws -> Bool {
    guard
      let function = ONNXFunction.find(node.opType, domain: node.domain, opset: opset)
    else { return false }
    let isBound = node.domain.isEmpty && !Catalog.bindings(onnx: node.opType).isEmpty
    if isBound, !function.appliesToConstants, inputs.allSatisfy({ $0 == nil || $0?.data != nil }) {
      return false
    }
    var builder = FunctionBuilder(try seen(node, inputs))
    guard let outputs = try function.build(&builder) else {
      guard isBound else {
        let types = inputs.compactMap { $0?.type.description }.joined(separator: ", ")
        throw GraftError(.unsupported, "its inputs are \(types)")
      }
      return false
    }
    var names: [FunctionBuilder.Source: String] = [:]
    for (index, name) in node.inputs.enumerated() { names[.input(index)] = name }
    let stem = node.outputs.first ?? ""
    func unused(_ base: String) -> String {
      var name = base
      while imported(name) != nil { name += "'" }
      return name
    }
    for (index, data) in builder.constants.enumerated() {
      let name = unused("\(stem)/constant\(index)")
      names[.constant(index)] = name
      set(name, .constant(data, isFolded: true, id: nil), isLiteral: true)
      functionConstants.insert(name)
    }
    for (output, term) in zip(node.outputs, outputs) where !output.isEmpty {
      if case .constant = term.source, let name = names[term.source], let known = imported(name) {
        alias(output, to: known, named: name)
      } else {
        names[term.source] = output
      }
    }
    for (index, step) in builder.steps.enumerated() {
      let operands = step.operands.map { $0.flatMap { names[$0] } }
      let results = step.results.indices.map { result -> String in
        let source = FunctionBuilder.Source.result(step: index, index: result)
        if let name = names[source] { return name }
        let name = unused("\(stem)/\(index).\(result)")
        names[source] = name
        return name
      }
      try append(step.operation, operands, for: node, place) { _ in results }
    }
    return true
  }

  /// The name of what the value `name` is under another shape.
  mutating func reshaped(
    _ name: String, to shape: TensorShape, for node: FileNode, _ place: Int
  ) throws -> String {
    let view = "\(name)\(shape)"
    guard imported(view) == nil else { return view }
    let reshape = Reshape(shape: shape)
    try append(reshape, [name], for: node, place) { _ in [view] }
    return view
  }
}
