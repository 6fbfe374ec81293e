// ONNX nodes that are read as other operators: PyTorch's newer exporter casts with CastLike and splits with
// sequences.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Converter {
  /// ONNX operators without a binding, which are rewritten.
  static let rewrittenOperators: Set<String> = [
    "Constant", "Identity", "CastLike", "SplitToSequence", "SequenceAt", "If",
  ]

  /// Rewrites a CastLike to a Cast with the inferred target type.
  func castNode(for node: FileNode, _ inputs: [ONNXNode.Input?]) throws -> FileNode {
    guard node.inputs.count == 2, let target = inputs[1] else {
      throw GraftError(.invalidModel, "it needs two inputs")
    }
    var cast = node
    cast.opType = "Cast"
    cast.inputs.removeLast()
    cast.attributes = [
      FileAttribute(
        name: "to", value: .int(ElementTypes.number(of: target.type.dtype)), reference: "")
    ]
    return cast
  }

  /// Rewrites a SplitToSequence to a Split whose outputs are the elements of the sequence, which is recorded
  /// by their names.
  mutating func splitNode(for node: FileNode, _ inputs: [ONNXNode.Input?]) throws -> FileNode {
    guard let x = inputs.first ?? nil, let sequence = node.outputs.first else {
      throw GraftError(.invalidModel, "it needs an input and an output")
    }
    guard inputs.count == 2, let lengths = inputs[1]?.integers else {
      throw GraftError(.unsupported, "it splits into lengths that are not constant")
    }
    var wanted = 0
    if case .int(let axis)? = node.attribute("axis")?.value { wanted = axis }
    let axis = try x.type.shape.axis(wanted)
    guard let extent = x.type.shape[axis].constant, let given = constants(lengths) else {
      throw GraftError(.unsupported, "it splits along the batch")
    }
    var parts = given
    if lengths.rank == 0, let length = given.first {
      guard length > 0, extent / length < KnownValues.largestSequence else {
        throw GraftError(.invalidModel, "it splits an extent of \(extent) into parts of \(length)")
      }
      parts = Array(repeating: length, count: extent / length)
      if !extent.isMultiple(of: length) { parts.append(extent % length) }
    }
    let names = parts.indices.map { "\(sequence)[\($0)]" }
    var split = node
    split.opType = "Split"
    split.inputs = [node.inputs[0]]
    split.outputs = names
    split.attributes = [FileAttribute(name: "axis", value: .int(axis), reference: "")]
    if opset >= 13 {
      let name = "\(sequence)[lengths]"
      set(
        name,
        .constant(
          try TensorData(packing: parts, as: .int64, shape: [parts.count]), isFolded: true, id: nil)
      )
      split.inputs.append(name)
    } else {
      split.attributes.append(FileAttribute(name: "split", value: .ints(parts), reference: ""))
    }
    set(sequence, .sequence(names))
    return split
  }

  /// Resolves a SequenceAt to an element.
  mutating func convertSequenceAt(_ node: FileNode) throws {
    guard node.inputs.count == 2, let output = node.outputs.first else {
      throw GraftError(.invalidModel, "it needs two inputs and an output")
    }
    if case .failed = imported(node.inputs[0]) { return set(output, .failed) }
    guard case .sequence(let names) = imported(node.inputs[0]) else {
      throw GraftError(.unsupported, "its sequence is not known at compile time")
    }
    guard let place = try input(node.inputs[1])?.integers, place.elements.count == 1,
      let index = place.elements[0].constant, index >= -names.count, index < names.count,
      let element = imported(names[index < 0 ? index + names.count : index])
    else { throw GraftError(.unsupported, "its index is not constant, or outside the sequence") }
    set(output, element)
  }
}
