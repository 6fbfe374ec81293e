// Grad-CAM (Selvaraju et al. 2017): a graph from the last feature map to the logits that also computes the
// gradient of a chosen logit.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The part of a network after one of its feature maps, with gradients of the logits with respect to that
/// map.
///
/// A feature map is a value [N, C, H, W] with more than one pixel, computed by or after a convolution,
/// through which all later values depend on the input.
public struct ClassActivation: Sendable {
  public enum Port {
    public static let features = "features"
    /// [N, classes]: the weight of each logit in the differentiated sum; one-hot rows for Grad-CAM.
    public static let selection = "selection"
    public static let gradient = "gradient"
  }

  /// The name of the feature map in the network.
  public let name: String
  /// The map's type; its first axis is the batch.
  public let type: TensorType
  /// ``Port/features`` and ``Port/selection`` in, ``Port/gradient`` [N, C, H, W] out.
  public let graph: Graph

  /// The feature maps of `network` from the last to the first.
  /// - Throws: ``GraftError`` as ``Head/init(of:)``.
  public static func featureMaps(of network: Graph) throws -> [ValueID] {
    let head = try Head(of: network).node
    let nodes = network.nodes
    guard let end = nodes.firstIndex(where: { $0.id == head.id }),
      let first = nodes[..<end].firstIndex(where: {
        Catalog.type(of: $0.opcode)?.group == .convolution
      })
    else { return [] }
    var lastUse: [ValueID: Int] = [:]
    for (index, node) in nodes.enumerated() {
      for operand in node.presentOperands { lastUse[operand] = index }
    }
    for output in network.outputs { lastUse[output.value] = nodes.count }
    // Values that are live after each node.
    var open = Set(network.inputs.filter { lastUse[$0] != nil })
    var found: [ValueID] = []
    for (index, node) in nodes[..<end].enumerated() {
      open.formUnion(node.results.filter { lastUse[$0] != nil })
      open = open.filter { (lastUse[$0] ?? 0) > index }
      guard index >= first, open.count == 1, let value = open.first,
        node.results.contains(value), isFeatureMap(network.type(of: value))
      else { continue }
      found.append(value)
    }
    return found.reversed()
  }

  private static func isFeatureMap(_ type: TensorType) -> Bool {
    guard type.dtype == .float32, type.rank == 4, type.shape[0] == .batch,
      let pixels = TensorShape(Array(type.shape.dimensions.suffix(2))).elementCount?.constant
    else { return false }
    return pixels > 1 && type.shape[1].constant != nil
  }

  /// - Parameter value: one of ``featureMaps(of:)``.
  /// - Throws: ``GraftError`` of kind `unsupported` if no gradient reaches it.
  public init(_ network: Graph, at value: ValueID) throws {
    name = network[value].name ?? ""
    type = network.type(of: value).with(layout: .plain)
    guard let producer = network.producer(of: value),
      let start = network.nodes.firstIndex(where: { $0.id == producer.id }),
      let output = network.outputs.first
    else { throw GraftError(.inconsistency, "the feature map is not a value of the network") }
    var copier = GraphCopier(from: network, named: network.name)
    copier.addInput(Port.features, for: value)
    for node in network.nodes[(start + 1)...] { try copier.copy(node) }
    let ending = try Ending(of: output.value, in: network)
    let logitsOfNetwork = try copier.value(for: ending.logits)
    var graph = copier.target
    let logits = try graph.appendRows(of: logitsOfNetwork, ending)
    guard let features = graph.inputs.first else {
      throw GraftError(.inconsistency, "the feature map is not an input")
    }
    let selection = graph.addInput(Port.selection, graph.type(of: logits))
    let gradients = try graph.appendGradients(
      of: [(logits, selection)], withRespectTo: [features])
    guard let gradient = gradients[features] else {
      throw GraftError(.unsupported, "the logits do not depend on \(name.quotedForDisplay)")
    }
    graph.outputs = [GraphOutput(name: Port.gradient, value: gradient)]
    graph.removeDeadCode()
    self.graph = graph
  }

  /// The Grad-CAM heat map relu(Σₖ αₖ Aᵏ), where αₖ is the mean of the gradient over channel k (Selvaraju et
  /// al. 2017, equations 1 and 2).
  /// - Parameters:
  ///   - features: one item's map [C, H, W].
  ///   - selection: [classes].
  /// - Returns: [H, W], at least 0.
  public func heatMap(features: [Float], selection: [Float]) throws -> (
    height: Int, width: Int, values: [Double]
  ) {
    let extents = try type.shape.extents(batch: 1)
    guard extents.count == 4, features.count == extents.reduce(1, *) else {
      throw GraftError(
        .invalidArgument, "\(features.count) values for the feature map \(type.shape)")
    }
    let (channels, height, width) = (extents[1], extents[2], extents[3])
    var evaluator = ReferenceEvaluator(graph)
    // If only linear operators follow the map, the gradient does not depend on it.
    let given = [Port.features: features, Port.selection: selection]
    var inputs: [String: HostTensor] = [:]
    for input in graph.inputs {
      let name = graph[input].name ?? ""
      let shape = try graph.type(of: input).shape.extents(batch: 1)
      inputs[name] = .float32(try DenseTensor(shape: shape, elements: given[name] ?? []))
    }
    guard let gradient = try evaluator.run(inputs)[Port.gradient]?.doubles else {
      throw GraftError(.inconsistency, "the gradient is missing")
    }
    let pixels = height * width
    var map = [Double](repeating: 0, count: pixels)
    for channel in 0..<channels {
      let own = channel * pixels..<(channel + 1) * pixels
      let weight = gradient[own].reduce(0, +) / Double(pixels)
      for (pixel, value) in features[own].enumerated() { map[pixel] += weight * Double(value) }
    }
    return (height, width, map.map { max(0, $0) })
  }

  /// Multiply-adds that ``heatMap(features:selection:)`` takes.
  public func multiplyAdds() throws -> Int {
    try graph.nodes.reduce(0) { sum, node in
      let cost = try Catalog.operation(of: node).cost(
        operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node))
      return sum + cost.multiplyAdds
    }
  }
}
