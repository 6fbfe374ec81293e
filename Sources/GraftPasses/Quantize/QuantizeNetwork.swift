// Puts the layers of an optimized network on bytes. The passes before it have folded and fused all that they can,
// so that a layer is a node; layouts are assigned afterwards.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Sums of products (``QuantizableSum``) read uint8 and int8 weights; what lies between them, elementwise
/// operators, pools and movements, stays on bytes. Conversions are put in only where a neighbor computes in
/// float32.
///
/// ```
/// %3 = convolution(%0, %1, %2) {strides=[1, 1], pads=[1, 1, 1, 1], activation="relu"} : f32[N,8,8,8]
/// %5 = convolution(%3, %4) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,8,8,8]
/// ```
/// becomes
/// ```
/// %6 = quantize(%0) {scale=0.02, zero=114} : u8[N,8,8,8]
/// %3 = quantized_convolution(%6, %7, %8, %9) {…, x_zero=114, activation="relu", zero=0} : u8[N,8,8,8]
/// %5 = quantized_convolution(%3, %10, %11, %12) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,8,8,8]
/// ```
/// Weights have a scale for each output and no zero point; values have one scale, of the range that they were
/// seen to have (Jacob et al. 2018; Krishnamoorthi 2018). Values between which elements only move share theirs.
public struct QuantizeNetwork: Pass {
  public static let name = "quantize"
  public static let summary = "puts layers on bytes, by the ranges of the values between them"
  public static let modes: Set<PassMode> = [.inference]

  /// The least and the greatest number of each value that was seen.
  public var ranges: [ValueID: ClosedRange<Float>]
  /// Nodes that stay float32, with the reason.
  public var kept: [NodeID: String]

  public init(ranges: [ValueID: ClosedRange<Float>], kept: [NodeID: String] = [:]) {
    self.ranges = ranges
    self.kept = kept
  }

  /// The nodes that the pass puts on bytes as layers, in execution order, and the ranges of the values that it then
  /// stores as bytes.
  /// - Throws: ``GraftError`` only if the graph is invalid.
  public func layers(
    of graph: Graph
  ) throws -> (nodes: [NodeID], ranges: [ValueID: ClosedRange<Float>]) {
    var context = PassContext()
    let plan = try QuantizationPlan(graph, self, &context)
    let nodes = graph.nodes.map(\.id).filter { id in
      if case .sum? = plan.forms[id] { true } else { false }
    }
    return (nodes, plan.stored.mapValues { $0.real(0)...$0.real(255) })
  }

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    let plan = try QuantizationPlan(graph, self, &context)
    let layers = plan.forms.values.count { if case .sum = $0 { true } else { false } }
    guard layers > 0 else {
      return context.left("the network", because: "it has no layer that computes on bytes")
    }
    var rewriter = QuantizationRewriter(plan)
    for id in graph.nodeIDs { try rewriter.rewrite(graph[id], in: &graph) }
    rewriter.finish(&graph)
    graph.removeDeadCode()
    context.did("put \(layers) layers on bytes, with \(rewriter.conversions) conversions")
  }
}

/// What quantization does with each node and value.
struct QuantizationPlan {
  enum Form {
    /// With x's and the result's quantization.
    case sum(any QuantizableSum, QuantizedWeights, Quantization)
    case elementwise(any QuantizableElementwise)
    case movement
  }

  private(set) var forms: [NodeID: Form] = [:]
  /// The values that are worth having as bytes, with their quantization.
  private(set) var stored: [ValueID: Quantization] = [:]

  init(_ graph: Graph, _ pass: QuantizeNetwork, _ context: inout PassContext) throws {
    var groups = ValueGroups()
    let nodes = graph.nodes
    var candidates: [NodeID: Form] = [:]
    for node in nodes {
      let operation = try Catalog.operation(of: node)
      if let why = pass.kept[node.id] {
        context.left(graph.title(node), because: why)
        continue
      }
      // Sums are decided when the quantization of x is known.
      if operation is any QuantizableSum { continue }
      if let map = operation as? any QuantizableElementwise {
        // Pictures of few channels are quantized on their way into pixels of four bytes, from planes.
        guard Self.isElementwise(node, map, graph),
          graph.type(of: node.results[0]).shape[1].constant ?? .max > Layout.fewChannels
        else { continue }
        candidates[node.id] = .elementwise(map)
        if type(of: map).selectsElements {
          groups.join(node.presentOperands + node.results)
        }
      } else if Self.isMovement(node, operation, graph) {
        candidates[node.id] = .movement
        groups.join(node.presentOperands + node.results)
      }
    }
    let quantizations = groups.quantizations(graph, pass.ranges)
    for node in nodes where pass.kept[node.id] == nil {
      guard let sum = try Catalog.operation(of: node) as? any QuantizableSum else { continue }
      switch Self.sum(node, sum, graph, quantizations) {
      case .success(let form): candidates[node.id] = form
      case .failure(let error): context.left(graph.title(node), because: error.message)
      }
    }
    choose(candidates, nodes, graph, quantizations)
  }

  /// Which candidates are worth it: those between sums, seen from the end of the network.
  private mutating func choose(
    _ candidates: [NodeID: Form], _ nodes: [Node], _ graph: Graph,
    _ quantizations: [ValueID: Quantization]
  ) {
    func want(_ value: ValueID?) {
      guard let value, graph[value].parameter == nil, let quantization = quantizations[value]
      else { return }
      stored[value] = quantization
    }
    for node in nodes.reversed() {
      guard let form = candidates[node.id] else { continue }
      let isWanted = node.results.contains { stored[$0] != nil }
      switch form {
      case .sum:
        forms[node.id] = form
        want(node.operand(0))
        if let position = Self.residualPosition(form) { want(node.operand(position)) }
      case .elementwise:
        let sizes = (node.presentOperands + node.results).map { Self.size($0, graph) }
        let shrinks = (sizes.last ?? 0) < (sizes.first ?? 0)
        guard isWanted || shrinks else { continue }
        forms[node.id] = form
        for (operand, size) in zip(node.presentOperands, sizes) where size == sizes.max() {
          want(operand)
        }
      case .movement:
        guard isWanted else { continue }
        forms[node.id] = form
        for operand in node.presentOperands { want(operand) }
        for result in node.results { want(result) }
      }
    }
  }

  static func residualPosition(_ form: Form) -> Int? {
    guard case .sum(let operation, _, _) = form else { return nil }
    return type(of: operation).position(of: .residual)
  }

  static func size(_ value: ValueID, _ graph: Graph) -> Int {
    (try? graph.type(of: value).shape.extents(batch: 1).reduce(1, *)) ?? 0
  }

  /// An elementwise operator or a pool of images, whose kernels read and write bytes in blocks of channels.
  static func isElementwise(
    _ node: Node, _ operation: any QuantizableElementwise, _ graph: Graph
  ) -> Bool {
    let (operands, results) = (graph.operandTypes(of: node), graph.resultTypes(of: node))
    guard results.count == 1, results[0].dtype == .float32, results[0].rank == 4,
      operands.allSatisfy({ $0?.dtype == .float32 }),
      operation.layoutSupport(operands: operands, results: results) == .blocked
    else { return false }
    return node.presentOperands.allSatisfy { graph[$0].parameter == nil }
      || type(of: operation).role(at: 1) == .scale
  }

  /// A node whose results' elements all are elements of its operands.
  static func isMovement(
    _ node: Node, _ operation: any Operator, _ graph: Graph
  ) -> Bool {
    guard let movement = operation as? any StructuralOperator, !movement.addsElements,
      type(of: operation).group == .movement
    else { return false }
    return (node.presentOperands + node.results).allSatisfy {
      graph.type(of: $0).dtype == .float32 && graph[$0].parameter == nil
    }
  }

  private static func sum(
    _ node: Node, _ operation: any QuantizableSum, _ graph: Graph,
    _ quantizations: [ValueID: Quantization]
  ) -> Result<Form, GraftError> {
    func left(_ why: String) -> Result<Form, GraftError> {
      .failure(GraftError(.unsupported, why))
    }
    guard let x = node.operand(0), graph[x].parameter == nil,
      graph.resultTypes(of: node).allSatisfy({ $0.dtype == .float32 })
    else { return left("it does not compute in float32") }
    guard let w = node.operand(1).flatMap({ graph[$0].parameter?.data }),
      w.dtype.isFloatingPoint
    else { return left("its weights are no constants") }
    guard let quantization = quantizations[x] else {
      return left("its input has no finite range")
    }
    var bias: [Float]?
    if let value = node.operand(2) {
      guard let data = graph[value].parameter?.data else { return left("its bias is no constant") }
      bias = data.floats()
    }
    let shape = graph.resultTypes(of: node).first?.shape
    if shape?.rank == 4, shape?[2] == 1, shape?[3] == 1 {
      return left("an image of one pixel is not worth the conversions")
    }
    let probe = operation.quantized(
      x: quantization, Requantization(), isExact: false,
      operands: graph.operandTypes(of: node))
    if case .failure(let error) = probe { return .failure(error) }
    guard let dense = try? DenseTensor(shape: w.shape, elements: w.floats()),
      let weights = QuantizedWeights(
        operation.outputsFirst(dense), bias: bias, scale: quantization.scale)
    else { return left("its weights or sums are out of range") }
    return .success(.sum(operation, weights, quantization))
  }
}

/// Values that share a quantization, because elements only move between them.
private struct ValueGroups {
  private var parents: [ValueID: ValueID] = [:]

  private mutating func root(_ value: ValueID) -> ValueID {
    var root = value
    while let parent = parents[root], parent != root { root = parent }
    parents[value] = root
    return root
  }

  mutating func join(_ values: [ValueID]) {
    guard let first = values.first.map({ root($0) }) else { return }
    for value in values.dropFirst() { parents[root(value)] = first }
  }

  /// The quantization of every float32 value whose group has only finite ranges.
  func quantizations(
    _ graph: Graph, _ ranges: [ValueID: ClosedRange<Float>]
  ) -> [ValueID: Quantization] {
    var groups = self
    var members: [ValueID: [ValueID]] = [:]
    for value in graph.allValues
    where graph[value].parameter == nil && graph.type(of: value).dtype == .float32 {
      members[groups.root(value), default: []].append(value)
    }
    var result: [ValueID: Quantization] = [:]
    for group in members.values {
      let seen = group.compactMap { ranges[$0] }
      guard seen.count == group.count, let low = seen.map(\.lowerBound).min(),
        let high = seen.map(\.upperBound).max(), low.isFinite, high.isFinite
      else { continue }
      let quantization = Quantization(low: Double(low), high: Double(high))
      for value in group { result[value] = quantization }
    }
    return result
  }
}
