// A training step for `graft dump --stage training`: the graph of one step after the passes, the phase of
// each node, the frozen operators and the cached values.

import GraftAutodiff
import GraftCodegen
import GraftDiagnostics
import GraftIR
import GraftOps

/// The training step of one head and freeze line, before it becomes code.
public struct TrainingStage: Sendable {
  /// The phase of a node.
  public enum Phase: String, CaseIterable, Encodable, Sendable {
    /// From the values at the freeze line to the logits and the loss.
    case forward
    /// Gradients.
    case backward
    /// New values of weights, statistics and optimizer state.
    case update
  }

  /// An operator before the freeze line.
  public struct FrozenOperator: Encodable, Sendable {
    /// Its name, or that of its first parameter.
    public var scope: String
    public var opcode: String
    public var shape: String
    public var parameters: Int
  }

  /// A value at the freeze line.
  public struct CachedValue: Encodable, Sendable {
    public var name: String
    public var dtype: String
    public var shape: [Manifest.Extent]
    public var bytesPerImage: Int

    enum CodingKeys: String, CodingKey {
      case name, dtype, shape
      case bytesPerImage = "bytes_per_image"
    }
  }

  /// The graph of one step. State tensors are the parameters marked as trained; an output with the name of
  /// such a parameter is its new value.
  public let graph: Graph
  public let plan: MemoryPlan
  /// In the order of the graph's nodes.
  public let phases: [Phase]
  /// In the order of the graph's nodes, whether a node recomputes a result of the forward pass.
  public let recomputed: [Bool]
  /// The frozen operators, which run once per image in the compiled network.
  public let frozen: [FrozenOperator]
  public let cached: [CachedValue]

  /// - Parameters:
  ///   - path: an .onnx file or a bundle.
  ///   - inputShapes: the shapes of inputs with dynamic axes, by name; of a bundle, those of the program to show.
  ///   - options: nil uses those recorded in a bundle that trains or was fine-tuned, and otherwise trains
  ///     only a linear
  ///     head.
  /// - Throws: ``GraftError`` as a fine-tuning run would with these options.
  public init(
    of path: String, _ options: TrainableOptions? = nil,
    target: CompilationTarget = .native, inputShapes: [String: InputShape] = [:]
  ) throws {
    var model = try SourceModel(
      reading: path, inputShapes: inputShapes.isEmpty ? [] : [inputShapes])
    var choice = try options ?? Self.choice(of: path) ?? TrainableOptions(unfreeze: .none)
    if choice.head != .keep, choice.classes == nil {
      let graph = try model.graph.keepingOutput(nil, labels: model.labels?.count).widened()
      let ending = try graph.outputs.first.map { try Ending(of: $0.value, in: graph) }
      choice.classes = model.labels?.count ?? ending?.classes
    }
    let network = try TrainableNetwork(replacingHeadOf: &model, choice, labels: nil)
    let lowered = try TrainingCompiler(target: target).lower(
      network.plan.training.step, keepsOrder: true)
    graph = lowered.graph
    plan = lowered.plan
    phases = try Self.phases(of: lowered.graph)
    let again = Set(lowered.recomputation?.again ?? [])
    recomputed = lowered.graph.nodes.map { again.contains($0.id) }
    let parts = network.plan.parts
    frozen = try GraphSummary(parts.trunk).rows.map {
      FrozenOperator(
        scope: $0.scope, opcode: $0.opcode, shape: $0.shape, parameters: $0.parameters)
    }
    let widths = try parts.cutWidths()
    cached = zip(parts.tail.inputs, widths).map { id, width in
      let type = parts.tail.type(of: id)
      return CachedValue(
        name: parts.tail[id].name ?? "", dtype: type.dtype.rawValue,
        shape: type.shape.dimensions.map { Manifest.Extent($0) }, bytesPerImage: 4 * width)
    }
  }

  /// The recorded options of a bundle that trains or was fine-tuned; it already has its head.
  private static func choice(of path: String) throws -> TrainableOptions? {
    guard ModelBundle.isBundle(at: path) else { return nil }
    let manifest = try ModelBundle(opening: path).manifest
    let trained = manifest.training.map { ($0.unfreeze, $0.bn, $0.optimizer) }
    let tuned = manifest.fineTuning.map { ($0.unfreeze, $0.bn, $0.optimizer) }
    guard let (unfreeze, bn, optimizer) = trained ?? tuned else { return nil }
    var options = TrainableOptions(unfreeze: try Unfreezing(unfreeze))
    options.head = .keep
    options.normalization = .init(rawValue: bn) ?? options.normalization
    options.optimizer = .init(rawValue: optimizer) ?? options.optimizer
    return options
  }

  private static func phases(of graph: Graph) throws -> [Phase] {
    let outputs = graph.outputs.filter { TrainingInterface.Output(rawValue: $0.name) != nil }
    var needed = Set(outputs.map(\.value))
    for node in graph.nodes.reversed() where node.results.contains(where: needed.contains) {
      needed.formUnion(node.presentOperands)
    }
    return try graph.nodes.map { node in
      let operation = try Catalog.operation(of: node)
      if operation is any UpdateOperator { return .update }
      return node.results.contains(where: needed.contains) ? .forward : .backward
    }
  }

  /// The step's text, which parses to ``graph``, with comments on its phases, frozen operators and cached
  /// values.
  public var text: String {
    var lines = ["// frozen: \(frozen.count) operators, run once per image by the compiled network"]
    lines += frozen.map {
      "//   \($0.opcode) \($0.shape) \($0.scope.escapedForDisplay)"
        + ($0.parameters > 0 ? ", \($0.parameters) parameters" : "")
    }
    lines.append("// cached at the freeze line:")
    lines += cached.map { "//   \($0.name.quotedForDisplay), \($0.bytesPerImage) bytes per image" }
    lines.append("// state, kept between steps:")
    let states = graph.parameters.filter { graph[$0].parameter?.isTrained == true }
    lines += Self.groups(of: states, in: graph).map { group, names in
      "//   \(group): \(names.map(\.quotedForDisplay).joined(separator: ", "))"
    }
    let body = graph.text.split(separator: "\n", omittingEmptySubsequences: false)
    let first = 1 + graph.inputs.count + graph.parameters.count
    for (index, line) in body.enumerated() {
      let node = index - first
      if phases.indices.contains(node), node == 0 || label(of: node) != label(of: node - 1) {
        lines.append("  // \(label(of: node))")
      }
      lines.append(String(line))
    }
    return lines.joined(separator: "\n")
  }

  /// The phase of a node, and whether it is recomputed.
  private func label(of node: Int) -> String {
    phases[node].rawValue + (recomputed[node] ? ", recomputed" : "")
  }

  /// The names of state tensors by group, in the graph's order.
  private static func groups(
    of states: [ValueID], in graph: Graph
  ) -> [(group: String, names: [String])] {
    var found: [(group: String, names: [String])] = []
    for id in states {
      let (group, name) = (graph[id].parameter?.group ?? "", graph[id].name ?? "")
      if let index = found.firstIndex(where: { $0.group == group }) {
        found[index].names.append(name)
      } else {
        found.append((group, [name]))
      }
    }
    return found
  }
}
