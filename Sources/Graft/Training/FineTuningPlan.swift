// The plan of a fine-tuned network: the new head, the freeze line, the parameter groups, and the graphs of
// the training step.

import GraftAutodiff
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftPasses
import GraftRuntime

/// A network split for training.
package struct FineTuningPlan {
  package let parts: NetworkParts
  /// The whole network with only the output to train.
  package let network: Graph
  package let specification: TrainingSpecification
  package let training: TrainingGraph
  /// The number of classes, or of regression outputs.
  package let outputWidth: Int
  /// The number of positions that have a class each; 1 if the whole item has it.
  package let positionCount: Int
  /// The number of trained parameter elements.
  package let trainedParameterCount: Int
  /// The learning rate factor of each parameter group.
  package let groupRates: [Double]
  package let warnings: [Warning]

  /// The task of a network.
  package enum Task {
    /// Single-label classification.
    case classes
    /// Multi-label classification.
    case labels
    /// A class for each of several positions of an item, such as the pixels of an image.
    case positions
    case regression
  }
  package let task: Task

  /// - Parameters:
  ///   - graph: a graph whose first output is the one to train; the others are auxiliary, each with a weight in
  ///     `options`.
  ///   - classes: the number of classes of the data, or of regression outputs.
  package init(_ graph: Graph, classes: Int, options: TrainingChoices) throws {
    let isRegression = options.loss.measure != nil
    if case .on(let name) = options.head, isRegression {
      throw GraftError(
        .unsupported,
        "a head on the value \(name.quotedForDisplay) has classes, and cannot be trained for values",
        advice: "Use --loss cross-entropy, or another --head.")
    }
    try Self.checkAuxiliary(of: graph, options)
    let graph = try options.head.prepared(graph)
    let old = try Self.ending(of: graph)
    let replaced = try Self.replacingHeads(of: graph, classes: classes, options)
    let ending = try Self.ending(of: replaced)
    parts = try NetworkParts(
      replaced, unfreezing: options.unfreeze, answer: isRegression ? .output : .logits)
    network = try parts.network.keepingOutput(replaced.outputs.first?.name, labels: nil)
    let answer = parts.tail
    let shape = answer.outputs.first.map { answer.type(of: $0.value).shape } ?? []
    positionCount = !isRegression && ending.classAxis != nil ? shape[1].constant ?? 1 : 1
    if isRegression {
      task = .regression
      outputWidth = TensorShape(Array(shape.dimensions.dropFirst())).elementCount?.constant ?? 0
    } else {
      task =
        ending.isMultiLabel ? .labels : ending.classAxis != nil ? .positions : .classes
      outputWidth = ending.classes
    }
    try Self.check(ending, task, options)
    try Self.checkAuxiliary(of: parts, task)
    let heads = try replaced.outputs.map { try Head.lastLayer(of: replaced.keepingOnly($0)) }
    var tail = parts.tail
    let statistics = Self.statistics(of: tail)
    let trained = parts.tailParameters.filter { !statistics.contains($0) }
    let groups = ParameterGroups(
      trained, of: tail, heads: heads, in: replaced, options)
    groupRates = groups.rates
    try Self.prepare(&tail, training: Set(groups.groups.keys))
    specification = TrainingSpecification(
      loss: task == .labels ? .binaryCrossEntropy : options.loss,
      optimizer: options.optimizer == .sgd
        ? .sgd(hasMomentum: options.hasMomentum, isNesterov: options.isNesterov)
        : .adam(isDecoupled: options.optimizer == .adamw),
      normalization: options.normalization, distills: options.distills,
      accumulates: options.accumulates, clips: options.clips,
      auxiliaryWeights: options.auxiliaryWeights, groups: groups.groups,
      groupNames: groups.names)
    let parameters = tail.parameters.filter { groups.groups[tail[$0].name ?? ""] != nil }
    try Self.requireGradients(of: parameters, in: tail)
    training = try TrainingGraph(tail: tail, specification)
    let hasNormalizations = !Self.statistics(of: tail).isEmpty
    var warnings: [Warning] = []
    if options.normalization == .train && !hasNormalizations {
      warnings.append(
        Warning("--bn train has no effect: the unfrozen layers have no BatchNorm"))
    }
    if case .other(let opcode) = ending.activation, !isRegression {
      warnings.append(
        Warning(
          "the network ends in \(opcode), whose outputs are not probabilities: training uses them as logits, "
            + "and predict prints them unchanged"))
    }
    if old.isBinary, ending.isMultiLabel {
      warnings.append(
        Warning(
          "the network ended in a single probability; the new head has one unit for each of the "
            + "\(ending.units) classes"))
    }
    self.warnings = warnings
    trainedParameterCount = parameters.reduce(0) {
      $0 + (tail.type(of: $1).shape.elementCount?.constant ?? 0)
    }
  }

  /// The graph with a new head of every output, if the options replace them.
  private static func replacingHeads(
    of graph: Graph, classes: Int, _ options: TrainingChoices
  ) throws -> Graph {
    guard options.head != .keep else { return graph }
    var graph = graph
    for index in graph.outputs.indices {
      let own = graph.keepingOnly(graph.outputs[index])
      let isBinary = try options.loss.measure == nil && classes == 2 && ending(of: own).isBinary
      graph = try graph.replacingHead(
        Head(of: own), by: options.head, classes: isBinary ? 1 : classes,
        seed: options.seed &+ UInt64(index), output: index)
    }
    return graph
  }

  private static func checkAuxiliary(of graph: Graph, _ options: TrainingChoices) throws {
    guard graph.outputs.count == 1 + options.auxiliaryWeights.count else {
      throw GraftError(
        .inconsistency,
        "\(graph.outputs.count) outputs with \(options.auxiliaryWeights.count) auxiliary weights")
    }
    guard !options.auxiliaryWeights.isEmpty else { return }
    if case .on(let name) = options.head {
      throw GraftError(
        .invalidArgument,
        "a head on the value \(name.quotedForDisplay) has no auxiliary outputs beside it",
        advice: "Leave out --auxiliary, or use --head linear.")
    }
  }

  /// - Throws: ``GraftError`` of kind `unsupported` if the auxiliary outputs do not have the classes of the output.
  private static func checkAuxiliary(of parts: NetworkParts, _ task: Task) throws {
    let types = parts.tail.outputs.map { parts.tail.type(of: $0.value).with(layout: .plain) }
    for (output, type) in zip(parts.network.outputs, types).dropFirst() {
      guard task == .classes || task == .positions else {
        throw GraftError(
          .unsupported,
          "the auxiliary output \(output.name.quotedForDisplay) has a cross-entropy, which the network does not train "
            + "with", advice: "Leave out --auxiliary.")
      }
      guard type == types[0] else {
        throw GraftError(
          .unsupported,
          "the auxiliary output \(output.name.quotedForDisplay) has the logits \(type.shape), the output those of shape "
            + "\(types[0].shape)",
          advice: "Leave out this output, or replace the heads with --head linear.")
      }
    }
  }

  private static func ending(of graph: Graph) throws -> Ending {
    guard let output = graph.outputs.first else {
      throw GraftError(.unsupported, "the network has no output")
    }
    return try Ending(of: output.value, in: graph)
  }

  /// Checks the options against the network's final activation.
  private static func check(_ ending: Ending, _ task: Task, _ options: TrainingChoices) throws {
    guard options.loss != .binaryCrossEntropy || ending.activation == .sigmoid else {
      throw GraftError(
        .invalidArgument,
        "binary cross-entropy is for networks that end in a sigmoid, but this one does not",
        advice: "Train it with --loss cross-entropy.")
    }
    guard task != .labels || ending.classAxis == nil else {
      throw GraftError(
        .unsupported,
        "the network has independent probabilities of \(ending.units) classes for each position",
        advice:
          "Fine-tuning trains one class for each position: replace the final sigmoid by a softmax over "
          + "the classes.")
    }
    guard (task != .classes && task != .positions) || ending.classes >= 2 else {
      throw GraftError(
        .unsupported,
        "the network's output is a single number without a sigmoid, so it is not a classifier",
        advice: "Replace its head (--head linear), or train it for regression (--loss mse).")
    }
    guard
      task != .labels
        || !options.shapesTargets && !options.distills
    else {
      throw GraftError(
        .invalidArgument,
        "the network is a multi-label classifier; label smoothing, class weights and a teacher need a "
          + "single-label classifier")
    }
    guard task != .positions || !options.distills else {
      throw GraftError(
        .unsupported,
        "a teacher needs one class per item, but the network has one for each position")
    }
  }

  /// - Throws: ``GraftError`` of kind `unsupported` that names every node without a gradient, and possible
  ///   freeze lines after them.
  private static func requireGradients(
    of parameters: [ValueID], in tail: Graph
  ) throws {
    let obstacles = try tail.obstacles(
      toGradientsOf: parameters, from: tail.outputs.map(\.value))
    guard let first = obstacles.first, let last = obstacles.last else { return }
    let list = obstacles.prefix(8).map {
      "\($0.node.origins.first?.quotedForDisplay ?? $0.node.opcode.rawValue): \($0.reason)"
    }
    let behind = tail.nodes.drop { $0.id != last.node.id }.dropFirst()
    let weighted = behind.filter { Head.hasWeights($0, in: tail) }.count
    let advice: String
    switch weighted {
    case 0: advice = "The freeze line cannot be after it, because the head comes before it."
    case 1: advice = "Move the freeze line after it: --unfreeze none trains only the head."
    default:
      advice = "Move the freeze line after it: --unfreeze none, or last:1 to last:\(weighted - 1)."
    }
    throw GraftError(
      .unsupported, "no gradient is available for \(list.joined(separator: "; "))",
      at: tail.location(of: first.node), advice: advice)
  }

  /// Runs the passes that come before gradients.
  /// - Parameter names: of the parameters that train, with which passes may not compute.
  private static func prepare(_ tail: inout Graph, training names: Set<String>) throws {
    for id in tail.parameters {
      guard let name = tail[id].name, names.contains(name), var parameter = tail[id].parameter
      else { continue }
      parameter.isTrained = true
      tail[id].definition = .parameter(parameter)
    }
    _ = try PassManager(Pipeline.gradients, mode: .training).run(&tail)
  }

  /// The names of running means and variances.
  private static func statistics(of graph: Graph) -> Set<String> {
    Set(
      graph.nodes.flatMap { node -> [String] in
        let type = Catalog.type(of: node.opcode)
        return node.operands.indices.compactMap { position -> String? in
          guard type?.role(at: position).isStatistic == true else { return nil }
          return node.operand(position).flatMap { graph[$0].name }
        }
      })
  }

  /// A sentence about what trains.
  package var summary: String {
    let tensors = specification.groups.count
    let literals =
      switch parts.tailLiterals.count {
      case 0: ""
      case 1: "; 1 constant of the graph does not"
      case let count: "; \(count) constants of the graph do not"
      }
    return "\(trainedParameterCount) parameters in \(tensors) tensors train\(literals); "
      + "frozen up to "
      + parts.cutNames.map(\.quotedForDisplay).joined(separator: ", ")
  }

  /// Whether a network that keeps its head can learn from a teacher, which needs one class per item.
  package static func takesTeacher(_ graph: Graph) throws -> Bool {
    let ending = try ending(of: graph)
    return !ending.isMultiLabel && ending.classAxis == nil
  }

  /// The whole network with the trained weights.
  package func network(trainedBy trainer: LoadedTrainer) throws -> Graph {
    try Self.weights(of: trainer, in: network)
  }

  /// A graph with the trained weights for its parameters of their names.
  package static func weights(of trainer: LoadedTrainer, in network: Graph) throws -> Graph {
    var graph = network
    for (index, entry) in trainer.description.states.enumerated() {
      guard entry.role != .optimizer, entry.role != .accumulator,
        let id = graph.parameter(named: entry.name), var parameter = graph[id].parameter
      else { continue }
      parameter.data = try TensorData(
        trainer.state(index), shape: graph.type(of: id).shape.constants ?? [])
      parameter.isTrained = false
      parameter.group = nil
      graph[id].definition = .parameter(parameter)
    }
    return graph
  }
}
