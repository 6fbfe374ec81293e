// Rewrites nodes for bytes as a plan says, and converts where a reader needs the other form.

import GraftDiagnostics
import GraftIR
import GraftOps

struct QuantizationRewriter {
  private let plan: QuantizationPlan
  /// The form as bytes of values, by the original value.
  private var bytes: [ValueID: ValueID] = [:]
  /// The float32 form of values whose nodes were rewritten, by the original value.
  private var reals: [ValueID: ValueID] = [:]
  /// The original values of which the rewritten node makes bytes.
  private var madeAsBytes: Set<ValueID> = []
  private(set) var conversions = 0

  init(_ plan: QuantizationPlan) { self.plan = plan }

  mutating func rewrite(_ node: Node, in graph: inout Graph) throws {
    switch plan.forms[node.id] {
    case .sum(let operation, let weights, let quantization):
      try rewrite(node, operation, weights, quantization, &graph)
    case .elementwise(let operation): try rewrite(node, operation, &graph)
    case .movement: try rewriteMovement(node, &graph)
    case nil:
      for (position, operand) in node.operands.enumerated() {
        guard let operand else { continue }
        graph[node.id].operands[position] = try real(operand, before: node, &graph)
      }
    }
  }

  /// Gives the graph's outputs float32.
  mutating func finish(_ graph: inout Graph) {
    for index in graph.outputs.indices {
      let value = graph.outputs[index].value
      if let real = try? real(value, before: nil, &graph) { graph.outputs[index].value = real }
    }
  }

  // MARK: Forms of values

  /// The float32 form of an original value.
  private mutating func real(
    _ value: ValueID, before node: Node?, _ graph: inout Graph
  ) throws -> ValueID {
    if let present = reals[value] { return present }
    guard madeAsBytes.contains(value), let stored = bytes[value],
      let quantization = plan.stored[value]
    else { return value }
    conversions += 1
    let result = try graph.append(
      Dequantize(from: quantization), [stored], names: [graph[value].name], before: node?.id)[0]
    reals[value] = result
    return result
  }

  /// The form as bytes of an original value.
  private mutating func stored(
    _ value: ValueID, _ quantization: Quantization, before node: Node, _ graph: inout Graph
  ) throws -> ValueID {
    if let present = bytes[value] { return present }
    conversions += 1
    let result = try graph.append(
      Quantize(to: quantization), [reals[value] ?? value], before: node.id)[0]
    bytes[value] = result
    return result
  }

  /// Puts `operation` in the place of `node`, for a float32 result or one of bytes.
  private mutating func place(
    _ operation: any Operator, _ operands: [ValueID?], for node: Node, _ graph: inout Graph
  ) throws {
    let results = try graph.append(
      operation, operands, names: node.results.map { graph[$0].name }, origins: node.origins,
      before: node.id)
    for (old, new) in zip(node.results, results) {
      if graph.type(of: new).dtype == .uint8 {
        graph[new].name = nil
        bytes[old] = new
        madeAsBytes.insert(old)
      } else {
        reals[old] = new
      }
    }
  }

  // MARK: Nodes

  private mutating func rewrite(
    _ node: Node, _ operation: any QuantizableSum, _ weights: QuantizedWeights,
    _ quantization: Quantization, _ graph: inout Graph
  ) throws {
    let x = try stored(try node.requiredOperand(0), quantization, before: node, &graph)
    let residual = type(of: operation).position(of: .residual).flatMap { node.operand($0) }
    let residualQuantization = residual.flatMap { plan.stored[$0] }
    let target = plan.stored[node.results[0]]
    // In steps of the result, rounding follows the sum at once.
    let step = target?.scale ?? 1
    let inSteps =
      residual == nil || residualQuantization != nil
      ? operation.activation.scaled(by: 1 / step) : nil
    let unit = inSteps == nil ? 1 : step
    var requantization = Requantization(
      activation: inSteps ?? operation.activation, rate: inSteps == nil ? 1 / step : 1,
      zero: target?.zero, scale: step)
    var operands: [ValueID?] =
      [x]
      + (try graph.addConstants(
        of: node, elements: weights.elements, shape: weights.shape, bias: weights.bias,
        multipliers: weights.steps.map { Float($0 / unit) }))
    if let residual {
      if let quantization = residualQuantization {
        operands.append(try stored(residual, quantization, before: node, &graph))
        requantization.residualMultiplier = Double(Float(quantization.scale / unit))
        requantization.residualZero = quantization.zero
      } else {
        operands.append(try real(residual, before: node, &graph))
      }
    }
    let rewritten = try operation.quantized(
      x: quantization, requantization, isExact: false,
      operands: graph.operandTypes(of: node)
    ).get()
    try place(rewritten, operands, for: node, &graph)
  }

  private mutating func rewrite(
    _ node: Node, _ operation: any QuantizableElementwise, _ graph: inout Graph
  ) throws {
    var operands: [ValueID] = []
    var sources: [Quantization?] = []
    for operand in node.presentOperands {
      if let present = bytes[operand], let quantization = plan.stored[operand] {
        operands.append(present)
        sources.append(quantization)
      } else {
        operands.append(try real(operand, before: node, &graph))
        sources.append(nil)
      }
    }
    let result = plan.stored[node.results[0]]
    if result == nil, sources.allSatisfy({ $0 == nil }) {
      for (position, operand) in operands.enumerated() {
        graph[node.id].operands[position] = operand
      }
      return
    }
    try place(
      Quantized(operation, sources: sources, result: result), operands, for: node, &graph)
  }

  private mutating func rewriteMovement(_ node: Node, _ graph: inout Graph) throws {
    let operands = try node.operands.map { operand -> ValueID? in
      guard let operand, let quantization = plan.stored[operand] else { return operand }
      return try stored(operand, quantization, before: node, &graph)
    }
    try place(try Catalog.operation(of: node), operands, for: node, &graph)
  }
}

extension Graph {
  /// Weights, bias and multipliers of a sum of products on bytes as parameters.
  /// - Parameters:
  ///   - node: the node in whose place the sum is.
  ///   - shape: [outputs, …], of the weights.
  mutating func addConstants(
    of node: Node, elements: [Int], shape: [Int], bias: [Int], multipliers: [Float]
  ) throws -> [ValueID?] {
    let base = node.operand(1).flatMap { self[$0].name } ?? "weights"
    let derivation = "quantized for \(title(node))"
    func add(_ suffix: String, _ data: TensorData) -> ValueID {
      addParameter(
        unusedName("\(base).\(suffix)"), TensorType(data.dtype, TensorShape(data.shape)),
        Parameter(derivation: derivation, data: data))
    }
    return [
      add("int8", try TensorData(packing: elements, as: .int8, shape: shape)),
      add("bias", try TensorData(packing: bias, as: .int32, shape: [bias.count])),
      add("multiplier", try TensorData(multipliers, shape: [multipliers.count])),
    ]
  }
}
