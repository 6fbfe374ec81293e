// Puts on bytes what a file says is quantized: the operators between its conversions, with the file's own scales and
// weights, so that the integers are those of the runtime that the file was made for.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Between conversions from and to bytes, sums of products with stored weights (``QuantizableSum``), elementwise
/// operators and pools (``QuantizableElementwise``) and movements compute on bytes. Nothing is rounded elsewhere than
/// in the file: sums are exact, and an activation between a sum and its quantization becomes a limit of the result.
///
/// ```
/// %4 = dequantize(%3) {scale=0.02, zero=114} : f32[N,8,8,8]
/// %5 = dequantize_weights(%1, %2) : f32[8,8,3,3]
/// %6 = convolution(%4, %5) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8]
/// %7 = relu(%6) : f32[N,8,8,8]
/// %8 = quantize(%7) {scale=0.1} : u8[N,8,8,8]
/// ```
/// becomes
/// ```
/// %8 = quantized_convolution(%3, %4, %5, %6) {…, x_zero=114, exact=true, activation="relu", zero=0} : u8[N,8,8,8]
/// ```
/// The multiplier of an output is x's scale · w's / y's, in float32 as onnxruntime computes it. What has no form on
/// bytes keeps its conversions, and int8 values become uint8 ones, 128 more, but at the network's inputs and outputs.
public struct LowerToBytes: Pass {
  public static let name = "lower-to-bytes"
  public static let summary = "puts on bytes what the file says is quantized"
  public static let modes: Set<PassMode> = [.inference]

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    guard graph.nodes.contains(where: { $0.opcode == Dequantize.opcode }) else { return }
    try mergeConversions(&graph)
    let signed = try dropSigns(&graph)
    for id in graph.nodeIDs {
      if let weights = graph[id].operand(1), try graph.storage(of: weights) != nil {
        try LowerMatrixMultiply.lower(graph[id], in: &graph, &context)
      }
    }
    try raiseQuantizations(&graph)
    var layers = 0
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      let operation = try Catalog.operation(of: node)
      if let sum = operation as? any QuantizableSum {
        switch try lower(node, sum, &graph, context) {
        case .success(let isLowered): layers += isLowered ? 1 : 0
        case .failure(let why): context.left(graph.title(node), because: why.message)
        }
      } else if QuantizationPlan.isMovement(node, operation, graph) {
        try lower(node, movement: operation, &graph)
      } else if try !lower(node, operation, signed, &graph), try isBetweenConversions(node, graph) {
        context.left(
          graph.title(node), because: "\(node.opcode) of these shapes has no form on bytes")
      }
    }
    try cancelConversions(&graph)
    graph.removeDeadCode()
    guard layers > 0 else { return }
    let conversions = graph.nodes.count {
      $0.opcode == Quantize.opcode || $0.opcode == Dequantize.opcode
    }
    context.did("put \(layers) layers on bytes, with \(conversions) conversions")
  }

  // MARK: Conversions

  /// A value that is quantized alike for each of its readers is quantized once; what has no effect is left out.
  private func mergeConversions(_ graph: inout Graph) throws {
    var known: [ValueID: [(Quantize, ValueID)]] = [:]
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let x = node.operand(0) else { continue }
      if try Catalog.operation(of: node) is any PassThrough, graph[x].parameter == nil {
        graph.bypass(node, with: x)
      } else if let quantize = try graph.operation(node, as: Quantize.self) {
        let same = known[x]?.first {
          $0.0.to == quantize.to && $0.0.isSigned == quantize.isSigned
        }
        if let same, !graph.isOutput(node.results[0]) {
          graph.bypass(node, with: same.1)
        } else {
          known[x, default: []].append((quantize, node.results[0]))
        }
      }
    }
  }

  /// Makes int8 values that only conversions and movements read and write uint8.
  /// - Returns: these values.
  private func dropSigns(_ graph: inout Graph) throws -> Set<ValueID> {
    func isInt8(_ value: ValueID) -> Bool { graph.type(of: value).dtype == .int8 }
    var values = Set(
      graph.nodes.flatMap(\.results).filter { isInt8($0) && !graph.isOutput($0) })
    var isChanging = true
    while isChanging {
      isChanging = false
      for node in graph.nodes {
        let touched = (node.presentOperands + node.results).filter(isInt8)
        guard touched.contains(where: values.contains) else { continue }
        let isConversion = node.opcode == Quantize.opcode || node.opcode == Dequantize.opcode
        let movement = try Catalog.operation(of: node) as? any StructuralOperator
        guard !isConversion, movement?.addsElements ?? true || !touched.allSatisfy(values.contains)
        else { continue }
        values.subtract(touched)
        isChanging = true
      }
    }
    var forms: [ValueID: ValueID] = [:]
    var replaced: [NodeID] = []
    for node in graph.nodes
    where (node.presentOperands + node.results).contains(where: values.contains) {
      var operation = try Catalog.operation(of: node)
      if let quantize = operation as? Quantize { operation = Quantize(to: quantize.to) }
      if let dequantize = operation as? Dequantize {
        operation = Dequantize(from: dequantize.from)
      }
      let results = try graph.append(
        operation, node.operands.map { $0.map { forms[$0] ?? $0 } },
        names: node.results.map { graph[$0].name }, origins: node.origins, before: node.id)
      for (old, new) in zip(node.results, results) {
        if values.contains(old) { forms[old] = new } else { graph.replaceUses(of: old, with: new) }
      }
      replaced.append(node.id)
    }
    for id in replaced.reversed() { graph.remove(id) }
    return Set(forms.values)
  }

  /// Quantizes the operands of a movement, and not its result.
  private func raiseQuantizations(_ graph: inout Graph) throws {
    var pending = graph.nodeIDs
    while let id = pending.popLast() {
      guard graph.contains(id),
        let quantize = try graph.operation(graph[id], as: Quantize.self), !quantize.isSigned,
        let x = graph[id].operand(0), let moved = graph.producer(of: x), moved.results.count == 1,
        graph.soleReader(of: x) != nil
      else { continue }
      let movement = try Catalog.operation(of: moved) as? any StructuralOperator
      guard let operation = movement?.onBytes(quantize.to),
        moved.presentOperands.allSatisfy({ graph.type(of: $0).dtype == .float32 })
      else { continue }
      let node = graph[id]
      let operands = try moved.operands.map { operand -> ValueID? in
        guard let operand else { return nil }
        let stored = try graph.append(
          quantize, [operand], origins: node.origins, before: moved.id)[0]
        if let made = graph.producer(of: stored) { pending.append(made.id) }
        return stored
      }
      let result = try graph.append(
        operation, operands, names: [graph[node.results[0]].name],
        origins: graph.origins(of: [moved, node]), before: id)[0]
      graph.replaceUses(of: node.results[0], with: result)
      graph.remove(id)
      graph.remove(moved.id)
    }
  }

  /// Bytes that become real numbers and the same bytes again stay bytes.
  private func cancelConversions(_ graph: inout Graph) throws {
    for id in graph.nodeIDs {
      guard let quantize = try graph.operation(graph[id], as: Quantize.self),
        let made = try graph.producer(of: graph[id].operand(0), as: Dequantize.self),
        made.operation.from == quantize.to, made.operation.isSigned == quantize.isSigned,
        let stored = made.node.operand(0), !graph.isOutput(graph[id].results[0])
      else { continue }
      graph.replaceUses(of: graph[id].results[0], with: stored)
    }
  }

  private func isBetweenConversions(_ node: Node, _ graph: Graph) throws -> Bool {
    guard node.results.count == 1, let reader = graph.soleReader(of: node.results[0]),
      reader.opcode == Quantize.opcode
    else { return false }
    return node.presentOperands.contains { graph.producer(of: $0)?.opcode == Dequantize.opcode }
  }

  // MARK: Nodes

  /// What follows a node up to its quantization.
  private struct Ending {
    /// Scales and shifts of the outputs, before the activation.
    var affine: ChannelAffine?
    var activation = Activation.none
    /// The nodes of all these.
    var nodes: [Node] = []
    /// Nil where the result is float32.
    var quantization: Quantization?
  }

  /// - Parameters:
  ///   - takes: whether the node can have an activation, which it has not.
  ///   - context: of the pass, where the node can have scales and shifts of its outputs.
  private func ending(
    of node: Node, takesActivation takes: Bool, _ graph: Graph, _ context: PassContext? = nil
  ) throws -> Ending {
    var ending = Ending()
    var value = node.results[0]
    if let context, let reader = graph.soleReader(of: value),
      let affine = try ChannelAffine(reader, in: graph, context), affine.x == value,
      affine.activation == .none
    {
      ending.affine = affine
      ending.nodes.append(reader)
      value = reader.results[0]
    }
    while let reader = graph.soleReader(of: value) {
      if let quantize = try graph.operation(reader, as: Quantize.self), !quantize.isSigned {
        ending.nodes.append(reader)
        ending.quantization = quantize.to
        break
      }
      guard takes, ending.activation == .none,
        let function = try Catalog.operation(of: reader) as? any UnaryElementwise,
        let activation = function.fusedActivation
      else { break }
      ending.nodes.append(reader)
      ending.activation = activation
      value = reader.results[0]
    }
    return ending
  }

  /// The quantization of real numbers that are made of bytes; nil for others.
  private func quantization(of value: ValueID?, _ graph: Graph) throws -> Quantization? {
    try graph.producer(of: value, as: Dequantize.self)?.operation.from
  }

  /// The bytes of which the real numbers `value` are made, as uint8.
  private func stored(
    _ value: ValueID, _ quantization: Quantization, before node: Node, _ graph: inout Graph
  ) throws -> ValueID {
    if let made = try graph.producer(of: value, as: Dequantize.self), !made.operation.isSigned,
      let bytes = made.node.operand(0)
    {
      return bytes
    }
    return try graph.append(Quantize(to: quantization), [value], before: node.id)[0]
  }

  /// - Returns: whether the node computes on bytes now, or the reason why it does not; false where it computes with
  ///   numbers that are not quantized.
  private func lower(
    _ node: Node, _ sum: any QuantizableSum, _ graph: inout Graph, _ context: PassContext
  ) throws -> Result<Bool, GraftError> {
    guard let x = node.operand(0), let weights = node.operand(1),
      let source = try quantization(of: x, graph), graph.type(of: x).dtype == .float32,
      graph.type(of: x).rank >= 2, sum.activation == .none
    else { return .success(false) }
    let stated = try StatedWeights.read(
      weights, bias: node.operand(2), of: sum, scale: Float(source.scale),
      channels: graph.type(of: x).shape[1], graph)
    guard case .success(var constants) = stated else { return stated.map { _ in false } }
    let ending = try ending(of: node, takesActivation: true, graph, context)
    if let affine = ending.affine, !constants.take(affine) {
      return .failure(
        GraftError(.unsupported, "the scales and shifts of its outputs are out of range"))
    }
    var requantization = Requantization(
      activation: ending.activation, zero: ending.quantization?.zero,
      scale: ending.quantization?.scale ?? 1)
    var multipliers = constants.steps
    if let result = ending.quantization {
      if let scaled = ending.activation.scaled(by: 1 / result.scale) {
        multipliers = multipliers.map { $0 / Float(result.scale) }
        requantization.activation = scaled
      } else {
        requantization.rate = 1 / result.scale
      }
    }
    guard multipliers.allSatisfy({ $0.isFinite }) else {
      return .failure(GraftError(.unsupported, "its scales are too far apart"))
    }
    let lowered = sum.quantized(
      x: source, requantization, isExact: true, operands: graph.operandTypes(of: node))
    guard case .success(let operation) = lowered else { return lowered.map { _ in false } }
    let last = ending.nodes.last ?? node
    var bytes = try stored(x, source, before: node, &graph)
    if constants.isDoubled {
      bytes = try graph.append(
        Concatenate(axis: 1), [bytes, bytes], origins: node.origins, before: node.id)[0]
    }
    let operands =
      [bytes]
      + (try graph.addConstants(
        of: node, elements: constants.elements, shape: constants.shape, bias: constants.bias,
        multipliers: multipliers))
    try graph.replace(
      last, with: operation, operands, absorbing: last.id == node.id ? [] : [node] + ending.nodes)
    return .success(true)
  }

  /// - Parameter signed: bytes that the file has as int8.
  /// - Returns: whether the node computes on bytes now.
  private func lower(
    _ node: Node, _ operation: any Operator, _ signed: Set<ValueID>, _ graph: inout Graph
  ) throws -> Bool {
    guard var map = operation as? any QuantizableElementwise,
      QuantizationPlan.isElementwise(node, map, graph)
    else { return false }
    // Smaller operands are numbers for each channel.
    let size = QuantizationPlan.size(node.results[0], graph)
    var sources: [Quantization?] = []
    for (position, operand) in node.presentOperands.enumerated() {
      let isConstant = try graph.storage(of: operand) != nil
      guard !isConstant || type(of: map).role(at: position) == .scale else { return false }
      let isWhole =
        node.presentOperands.count == 1 || QuantizationPlan.size(operand, graph) == size
      sources.append(isWhole ? try quantization(of: operand, graph) : nil)
    }
    guard let first = sources.first, sources.contains(where: { $0 != nil }) else { return false }
    let fusing = map as? any ActivationFusing
    var ending = try ending(
      of: node, takesActivation: fusing?.activation == Activation.none, graph)
    if ending.quantization == nil, let source = first, sources.count == 1,
      type(of: map).selectsElements
    {
      try move(node, Quantized(map, sources: sources, result: source), source, &graph)
      return true
    }
    if ending.quantization == nil {
      ending = Ending()
      // Few real numbers are made of many bytes.
      let given = node.operand(0).map { QuantizationPlan.size($0, graph) } ?? 0
      guard first != nil, size < given else { return false }
    }
    if var fusing, ending.activation != .none {
      fusing.activation = ending.activation
      guard let fused = fusing as? any QuantizableElementwise else { return false }
      map = fused
    }
    let operands = try zip(node.presentOperands, sources).map { operand, source in
      try source.map { try stored(operand, $0, before: node, &graph) } ?? operand
    }
    let last = ending.nodes.last ?? node
    // onnxruntime makes int8 between conversions uint8 too, but not within one node of the file.
    let isSigned = signed.contains(last.results[0]) && last.origins == node.origins
    try graph.replace(
      last,
      with: Quantized.exact(
        map, types: graph.operandTypes(of: node), sources: sources, result: ending.quantization,
        isSigned: isSigned),
      operands, absorbing: last.id == node.id ? [] : [node] + ending.nodes)
    return true
  }

  /// Moves bytes, and not the real numbers that are made of them.
  private func lower(
    _ node: Node, movement: any Operator, _ graph: inout Graph
  ) throws {
    guard let source = try quantization(of: node.operand(0), graph) else { return }
    for operand in node.presentOperands {
      guard let made = try graph.producer(of: operand, as: Dequantize.self),
        made.operation.from == source, !made.operation.isSigned
      else { return }
    }
    try move(node, movement, source, &graph)
  }

  /// Puts an operator on bytes, whose results are quantized as its operands are, in the place of a node.
  private func move(
    _ node: Node, _ operation: any Operator, _ source: Quantization, _ graph: inout Graph
  ) throws {
    let operands = try node.presentOperands.map {
      try stored($0, source, before: node, &graph)
    }
    let moved = try graph.append(operation, operands, origins: node.origins, before: node.id)
    for (old, new) in zip(node.results, moved) {
      let real = try graph.append(
        Dequantize(from: source), [new], names: [graph[old].name], origins: node.origins,
        before: node.id)[0]
      graph.replaceUses(of: old, with: real)
    }
    graph.remove(node.id)
  }
}

extension Graph {
  /// The one node that reads `value`, with one operand, if nothing else does.
  fileprivate func soleReader(of value: ValueID) -> Node? {
    let readers = readers(of: value)
    return readers.count == 1 && !isOutput(value) ? self[readers[0]] : nil
  }
}
