// A network whose bundle includes a training step: the options, the new head, and the check that libmodel.so
// computes the values at the freeze line. FineTuningPlan and TrainingCompiler make the step, as in a
// fine-tuning run.

import GraftAutodiff
import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftPasses

/// The options of a bundle with a training step. The defaults are those of `graft finetune`.
public struct TrainableOptions: Sendable {
  public var unfreeze: Unfreezing
  public var head = HeadReplacement.linear
  /// The number of classes of a new head; nil takes the number of labels.
  public var classes: Int?
  public var normalization = TrainingSpecification.Normalization.frozen
  public var optimizer = OptimizerName.sgd
  /// The random seed of a new head's initial weights.
  public var seed: UInt64 = 0

  public init(unfreeze: Unfreezing) { self.unfreeze = unfreeze }

  /// The maximum number of classes of a head.
  static let mostClasses = 1 << 20
}

extension Graph {
  /// The graph with float16, bfloat16 and quantized weights and intermediate values widened to float32 for training.
  /// Inputs and outputs keep their types.
  package func widened() throws -> Graph {
    var graph = self
    let widening = [
      PipelineEntry(DropQuantization(), because: "training updates real numbers"),
      PipelineEntry(WidenFloats(), because: "training updates float32 weights"),
    ]
    _ = try PassManager(widening, mode: .training).run(&graph)
    try graph.computeConvertedWeights()
    return graph
  }

  /// Warnings about what ``widened()`` changes.
  package var warningsOfWidening: [Warning] {
    guard isStoredInBytes else { return [] }
    return [
      Warning(
        "the network is quantized; it trains in float32, and so is the result, which graft compile "
          + "--precision int8 puts on bytes again")
    ]
  }

  /// Replaces each conversion of a weight to float32 by a parameter of its name, which then trains.
  private mutating func computeConvertedWeights() throws {
    for node in nodes {
      guard let operand = node.operand(0), let parameter = self[operand].parameter,
        parameter.data != nil, let result = node.results.first, !isOutput(result),
        type(of: result).dtype == .float32,
        type(of: operand).dtype.isFloatingPoint && type(of: operand).dtype != .float32,
        try Catalog.operation(of: node).keepsValues
      else { continue }
      let isReplaced = readers(of: operand).count == 1 && !isOutput(operand)
      if isReplaced { (self[result].name, self[operand].name) = (self[operand].name, nil) }
      try replaceByConstants(
        node, named: "weight",
        derivation: "folded \(node.opcode) \((node.origins.first ?? "").quotedForDisplay)",
        isLiteral: parameter.isLiteral)
      if isReplaced { removeParameter(operand) }
    }
  }
}

/// A network with a new head and its training step.
package struct TrainableNetwork {
  let plan: FineTuningPlan
  private let options: TrainableOptions
  private let loss: TrainingSpecification.Loss

  /// Replaces the head of `model`; labels of the old one are removed.
  /// - Throws: ``GraftError`` if the number of classes is unknown, and as ``FineTuningPlan``.
  init(
    replacingHeadOf model: inout SourceModel, _ options: TrainableOptions, labels: [String]?
  ) throws {
    model.warnings += model.graph.warningsOfWidening
    model.graph = try model.graph.keepingOutput(nil, labels: (labels ?? model.labels)?.count)
      .widened()
    let classes = try Self.classes(of: model.graph, options, labels)
    var choices = TrainingChoices(unfreeze: options.unfreeze)
    choices.head = options.head
    choices.normalization = options.normalization
    choices.optimizer = options.optimizer
    choices.seed = options.seed
    plan = try FineTuningPlan(model.graph, classes: classes, options: choices)
    let extents = plan.parts.network.outputShapes.first ?? nil
    guard extents.flatMap({ PictureOutput(model.preprocessing, shape: $0) }) == nil else {
      throw GraftError(
        .unsupported,
        "the network's output is an image; a training step in a bundle needs one class per item",
        advice: "Train it with graft finetune.")
    }
    guard plan.task != .positions else {
      throw GraftError(
        .unsupported,
        "the network has a class for each of \(plan.positionCount) positions; a training step "
          + "in a bundle needs one class per item", advice: "Train it with graft finetune.")
    }
    _ = try plan.parts.cutWidths()
    self.options = options
    loss = plan.specification.loss
    model.graph = plan.parts.network
    model.warnings += plan.warnings
    // The step trains classes, so the output is no image.
    model.preprocessing?.output = nil
    if options.head != .keep { model.labels = nil }
  }

  private static func classes(
    of graph: Graph, _ options: TrainableOptions, _ labels: [String]?
  ) throws -> Int {
    let ending = try graph.outputs.first.map { try Ending(of: $0.value, in: graph) }
    let present = options.head == .keep ? ending?.classes : nil
    guard let classes = present ?? options.classes ?? labels?.count else {
      throw GraftError(
        .invalidArgument, "the number of classes of the new head is unknown",
        advice: "Give --classes N or --labels FILE.")
    }
    let stated = [
      (count: options.classes, by: "--classes says"), (labels?.count, "the number of labels is"),
    ]
    for (count, by) in stated {
      guard let count, count != classes else { continue }
      throw GraftError(.invalidArgument, "the head has \(classes) classes, but \(by) \(count)")
    }
    guard (2...TrainableOptions.mostClasses).contains(classes) else {
      throw GraftError(
        .invalidArgument,
        "a head must have from 2 to \(TrainableOptions.mostClasses) classes, found \(classes)")
    }
    return classes
  }

  /// The values at the freeze line that libmodel.so must return, with their names; inputs are not included.
  var valuesAtCut: [GraphOutput] {
    zip(plan.parts.cutNames, plan.parts.cut).compactMap { name, value in
      plan.parts.network.producer(of: value) == nil ? nil : GraphOutput(name: name, value: value)
    }
  }

  /// - Throws: ``GraftError`` of kind `unsupported` that names a value at the freeze line that the compiled
  ///   network does not compute.
  func check(_ program: GeneratedProgram, _ graph: Graph) throws {
    let cut = Dictionary(
      zip(plan.parts.cutNames, plan.parts.tail.inputs), uniquingKeysWith: { first, _ in first })
    for kept in valuesAtCut {
      let wanted = cut[kept.name].map { plan.parts.tail.type(of: $0).with(layout: .plain) }
      let index = program.tapNames.firstIndex(of: kept.name)
      let found = index.map { graph.type(of: program.tapValues[$0]).with(layout: .plain) }
      guard let wanted, found == wanted else {
        throw GraftError(
          .unsupported,
          "the compiled network does not compute the value \(kept.name.quotedForDisplay) at the freeze line "
            + "of --trainable \(options.unfreeze)",
          advice: "Choose another freeze line: a layer before or after it, or none or all.")
      }
    }
  }

  /// Compiles the training step into `folder`.
  func write(to folder: String, target: CompilationTarget) throws -> Manifest.Training {
    let groups = plan.specification.groupNames
    let states = try TrainingCompiler(target: target).compile(
      plan.training, groupNames: groups, into: folder
    ).states
    let tail = plan.parts.tail
    return Manifest.Training(
      unfreeze: "\(options.unfreeze)", head: "\(options.head)",
      bn: options.normalization.rawValue, optimizer: options.optimizer.rawValue,
      loss: loss.rawValue, seed: options.seed,
      cut: tail.inputs.map {
        Manifest.Tensor(name: tail[$0].name ?? "", type: tail.type(of: $0).with(layout: .plain))
      },
      classes: plan.outputWidth, groups: groups,
      states: states.map { state in
        Manifest.Training.State(
          name: state.name, shape: state.type.shape.constants ?? [], role: state.role.rawValue,
          group: state.group.flatMap { groups.indices.contains($0) ? groups[$0] : nil })
      })
  }
}
