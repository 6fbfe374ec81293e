// Runs a graph in plain Swift, one operator after the other: what `graft run --reference` does, and the
// measure that compiled kernels, passes and gradients are tested against. Values lie as their layouts say.

import GraftDiagnostics
import GraftIR

/// Evaluates graphs with the operators' reference functions.
public struct ReferenceEvaluator {
  private let graph: Graph
  private let precision: HostTensor.Precision
  private var parameterCache: [ValueID: HostTensor] = [:]

  public init(_ graph: Graph, precision: HostTensor.Precision = .single) {
    self.graph = graph
    self.precision = precision
  }

  /// Runs the graph.
  /// - Parameters:
  ///   - inputs: a tensor for each input by name, in the precision of this evaluator.
  ///   - observe: called with every value that a node makes, without its layout, in execution order.
  /// - Returns: the outputs by name.
  /// - Throws: ``GraftError`` if an input is missing or of the wrong shape, or a node fails.
  public mutating func run(
    _ inputs: [String: HostTensor], observe: (ValueID, HostTensor) throws -> Void = { _, _ in }
  ) throws -> [String: HostTensor] {
    let batch = try self.batch(of: inputs)
    var values: [ValueID: HostTensor] = [:]
    for id in graph.inputs {
      guard let name = graph[id].name, let tensor = inputs[name] else {
        throw GraftError(
          .invalidArgument, "input \((graph[id].name ?? "").quotedForDisplay) was not given")
      }
      let expected = try graph.type(of: id).shape.extents(batch: batch)
      guard tensor.shape == expected else {
        throw GraftError(
          .invalidArgument,
          "input \(name.quotedForDisplay) has shape \(tensor.shape), expected "
            + "\(graph.type(of: id).shape)")
      }
      values[id] = tensor
    }
    var remaining: [ValueID: Int] = [:]
    for id in graph.allValues { remaining[id] = graph.readers(of: id).count }
    for output in graph.outputs { remaining[output.value, default: 0] += 1 }
    for node in graph.nodes {
      let results = try at(graph.location(of: node)) { () throws -> [HostTensor] in
        let operands = try node.operands.map { try $0.map { try value(of: $0, in: values) } }
        return try evaluate(node, operands, batch: batch)
      }
      for (id, tensor) in zip(node.results, results) {
        values[id] = tensor
        let type = graph.type(of: id)
        try observe(
          id, tensor.loaded(from: type.layout, shape: try type.shape.extents(batch: batch)))
      }
      for operand in node.presentOperands {
        remaining[operand, default: 0] -= 1
        if remaining[operand] == 0 { values[operand] = nil }
      }
    }
    var outputs: [String: HostTensor] = [:]
    for output in graph.outputs { outputs[output.name] = try value(of: output.value, in: values) }
    return outputs
  }

  /// The results of a node as they lie in memory, from operands as they lie.
  private func evaluate(
    _ node: Node, _ operands: [HostTensor?], batch: Int
  ) throws -> [HostTensor] {
    let operation = try Catalog.operation(of: node)
    let (operandTypes, types) = (graph.operandTypes(of: node), graph.resultTypes(of: node))
    let isPlain = (operandTypes.compactMap(\.self) + types).allSatisfy(\.layout.isPlain)
    if operation.isView, !isPlain, let x = operands.first ?? nil {
      return try types.map { try x.viewed(as: $0.storedShape.extents(batch: batch)) }
    }
    let dense = try operands.indices.map { index -> HostTensor? in
      guard let operand = operands[index], let type = operandTypes[index] else { return nil }
      return try operand.loaded(
        from: type.layout, shape: try type.shape.extents(batch: batch),
        border: operation.border(ofOperand: index, types: operandTypes))
    }
    let extents = try types.map { try $0.shape.extents(batch: batch) }
    let results = try operation.evaluate(dense, extents: extents)
    guard results.map(\.shape) == extents else {
      throw GraftError(
        .inconsistency, "evaluation gave \(results.map(\.shape)), the types say \(extents)")
    }
    return try zip(results, types).map { result, type in
      try result.converted(to: precision).stored(as: type.layout)
    }
  }

  private mutating func value(
    of id: ValueID, in values: [ValueID: HostTensor]
  ) throws -> HostTensor {
    if let value = values[id] ?? parameterCache[id] { return value }
    guard let parameter = graph[id].parameter, let data = parameter.data else {
      throw GraftError(
        .invalidGraph,
        "the value \((graph[id].name ?? "%\(id.index)").quotedForDisplay) has no data")
    }
    let tensor = try HostTensor(data, precision: precision)
    parameterCache[id] = tensor
    return tensor
  }

  /// The batch size, from the first input whose shape depends on it; 1 if there is none.
  private func batch(of inputs: [String: HostTensor]) throws -> Int {
    for id in graph.inputs {
      let shape = graph.type(of: id).shape
      guard let axis = shape.dimensions.firstIndex(where: \.isBatch), let name = graph[id].name,
        let tensor = inputs[name], tensor.shape.count == shape.rank
      else { continue }
      let coefficient = shape[axis].coefficient
      guard tensor.shape[axis] > 0, tensor.shape[axis].isMultiple(of: coefficient) else {
        throw GraftError(
          .invalidArgument,
          "input \(name.quotedForDisplay) has shape \(tensor.shape), expected \(shape)")
      }
      return tensor.shape[axis] / coefficient
    }
    return 1
  }
}
