// Builds the graph of a training step from the tail of a network: forward, loss, backward, update. State
// tensors are parameters marked as trained; an output with a parameter's name is its new value.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The graphs of training: a step, and an evaluation with the same state.
public struct TrainingGraph: Sendable {
  private typealias Input = TrainingInterface.Input
  private typealias Output = TrainingInterface.Output

  public internal(set) var step: Graph
  public private(set) var evaluation = Graph(name: "")
  /// The parameters that a step changes, statistics included, by name.
  public private(set) var changed: [String] = []

  let specification: TrainingSpecification
  var newContents: [(name: String, value: ValueID)] = []

  /// - Parameter tail: one output, the logits [batch, classes] or [batch, positions, classes] (or the values of
  ///   a regression), and auxiliary logits of the same shape, one for each of the weights.
  /// - Throws: ``GraftError`` of kind `unsupported` that names a node without a gradient, or a parameter that
  ///   cannot train.
  public init(tail: Graph, _ specification: TrainingSpecification) throws {
    self.specification = specification
    step = tail
    step.name = tail.name
    try markTrained()
    let averages = try useBatchStatistics()
    var evaluation = tail
    evaluation.outputs = Array(tail.outputs.prefix(1))
    evaluation.removeDeadCode()
    for id in evaluation.parameters {
      guard let name = evaluation[id].name, let own = step.parameter(named: name) else { continue }
      evaluation[id].definition = step[own].definition
    }
    self.evaluation = evaluation
    let dropouts = try activateDropout()
    let (loss, seed) = try appendLoss()
    let auxiliary = try auxiliaryLosses()
    let hyperparameters = step.addInput(
      Input.hyperparameters.rawValue,
      TensorType(
        .float32,
        TensorShape([specification.groupNames.count, TrainingInterface.hyperparameterCount])))
    let needsSettings =
      specification.clips || specification.accumulates || specification.distills
    let settings =
      needsSettings
      ? step.addInput(
        Input.settings.rawValue,
        TensorType(.float32, TensorShape([TrainingInterface.settingCount]))) : nil
    try addRandomInput(dropouts)
    let logits = step.outputs[0].value
    let parameters = step.parameters.filter {
      specification.groups[step[$0].name ?? ""] != nil
    }
    var ends = [(logits, try seed(&step, settings))]
    for part in auxiliary { ends.append((part.logits, try part.seed(&step, settings))) }
    let gradients = try step.appendGradients(of: ends, withRespectTo: parameters)
    var total = try loss(&step, settings)
    for part in auxiliary {
      total = try step.append(Add(), [total, part.loss(&step, settings)])[0]
    }
    step.outputs = [
      GraphOutput(name: Output.loss.rawValue, value: total),
      GraphOutput(name: Output.logits.rawValue, value: logits),
    ]
    try appendUpdates(
      parameters.map { ($0, try gradients[$0] ?? zeroGradient(of: $0)) }, hyperparameters, settings)
    for average in averages {
      let moved = try step.append(
        MovingAverage(momentum: average.momentum), [average.stored, average.batch])[0]
      newContents.append((average.name, moved))
    }
    for (name, value) in newContents { step.outputs.append(GraphOutput(name: name, value: value)) }
    changed = newContents.map(\.name)
    step.removeDeadCode()
  }

  // MARK: State

  private mutating func markTrained() throws {
    for name in specification.groups.keys.sorted() {
      guard let id = step.parameter(named: name), var parameter = step[id].parameter,
        let group = specification.groups[name],
        specification.groupNames.indices.contains(group)
      else {
        throw GraftError(
          .invalidArgument, "no unfrozen parameter is named \(name.quotedForDisplay)")
      }
      guard step.type(of: id).dtype == .float32 else {
        throw GraftError(
          .unsupported,
          "\(name.quotedForDisplay) is \(step.type(of: id)); training updates float32 weights")
      }
      parameter.isTrained = true
      parameter.group = specification.groupNames[group]
      step[id].definition = .parameter(parameter)
    }
  }

  mutating func addState(
    _ name: String, like parameter: ValueID, role: TrainingInterface.StateRole
  ) throws -> ValueID {
    let type = step.type(of: parameter)
    let zeros = try TensorData(zeros: type.shape.constants ?? [])
    return step.addParameter(
      name, type, Parameter(isTrained: true, group: role.group, data: zeros))
  }

  /// A running statistic of a normalization and what it moves toward.
  private struct RunningStatistic {
    var name: String
    var stored: ValueID
    /// The batch's statistic, and its weight in the update.
    var batch: ValueID
    var momentum: Double
  }

  /// Makes every normalization of the tail use batch statistics, if the specification says so.
  /// - Returns: the running statistics to update.
  private mutating func useBatchStatistics() throws -> [RunningStatistic] {
    guard specification.normalization == .train else { return [] }
    var averages: [RunningStatistic] = []
    var moved = Set<ValueID>()
    for node in step.nodes {
      guard let normalization = try Catalog.operation(of: node) as? BatchNormalization,
        let x = node.operand(0), let mean = node.operand(3), let variance = node.operand(4),
        step[mean].parameter != nil, step[variance].parameter != nil
      else { continue }
      let made = try step.append(
        BatchStatistics(), [x], origins: node.origins, before: node.id)
      step[node.id].operands[3] = made[0]
      step[node.id].operands[4] = made[1]
      for (old, new) in [(mean, made[0]), (variance, made[2])] where moved.insert(old).inserted {
        guard let name = step[old].name, var parameter = step[old].parameter,
          step.type(of: old).dtype == .float32
        else {
          throw GraftError(
            .unsupported, "statistics that are not float32 parameters",
            at: step.location(of: node))
        }
        parameter.isTrained = true
        parameter.group = TrainingInterface.StateRole.statistic.group
        step[old].definition = .parameter(parameter)
        averages.append(
          RunningStatistic(
            name: name, stored: old, batch: new, momentum: 1 - normalization.momentum))
      }
    }
    return averages
  }

  // MARK: Forward

  /// The dropouts of the tail, activated once their random input exists.
  private func activateDropout() throws -> [NodeID] {
    try step.nodes.filter {
      guard let dropout = try Catalog.operation(of: $0) as? Dropout else { return false }
      return dropout.ratio > 0
    }.map(\.id)
  }

  private mutating func addRandomInput(_ dropouts: [NodeID]) throws {
    guard !dropouts.isEmpty else { return }
    let random = step.addInput(
      Input.random.rawValue, TensorType(.int32, TensorShape([TrainingInterface.randomWordCount])))
    for (stream, id) in dropouts.enumerated() {
      guard let dropout = try Catalog.operation(of: step[id]) as? Dropout else { continue }
      let node = step[id]
      let made = try step.append(
        RandomDropout(ratio: dropout.ratio, stream: stream), [node.operand(0), random],
        names: [step[node.results[0]].name], origins: node.origins, before: id)[0]
      step.replaceUses(of: node.results[0], with: made)
      step.remove(id)
    }
  }

  private typealias Part = (inout Graph, _ settings: ValueID?) throws -> ValueID

  /// Adds the inputs of the loss.
  /// - Returns: functions that build the loss per image and the gradient of the logits.
  private mutating func appendLoss() throws -> (loss: Part, seed: Part) {
    guard step.outputs.count == 1 + specification.auxiliaryWeights.count,
      let output = step.outputs.first
    else {
      throw GraftError(
        .unsupported, "training needs a network with one output and a weight for each auxiliary one"
      )
    }
    let type = step.type(of: output.value).with(layout: .plain)
    guard type.dtype == .float32, type.rank >= 1, type.shape[0].isBatch else {
      throw GraftError(
        .unsupported,
        "the output \(output.name.quotedForDisplay) is \(type); training needs float32 "
          + "with a dynamic batch size")
    }
    if specification.loss == .binaryCrossEntropy { return try appendBinaryLoss(type) }
    let targets = step.addInput(Input.targets.rawValue, type)
    if let measure = specification.loss.measure {
      let weights = step.addInput(
        Input.weights.rawValue, TensorType(.float32, TensorShape([type.shape[0]])))
      return (
        { graph, _ in
          try graph.append(RegressionError(measure), [graph.outputs[0].value, targets, weights])[0]
        },
        { graph, _ in
          try graph.append(
            RegressionErrorGradient(measure), [graph.outputs[0].value, targets, weights])[0]
        }
      )
    }
    guard let rows = Rows(type) else {
      throw GraftError(
        .unsupported,
        "the output \(output.name.quotedForDisplay) is \(type), expected "
          + "[batch, classes] or [batch, positions, classes]")
    }
    let teacher =
      specification.distills ? step.addInput(Input.teacherTargets.rawValue, type) : nil
    return (
      { graph, settings in
        let logits = try rows.table(of: output.value, &graph)
        let loss = try graph.append(
          CrossEntropy(), [logits, try rows.table(of: targets, &graph)])[0]
        guard let teacher else { return try rows.sum(of: loss, &graph) }
        let soft = try Self.softened(logits, settings, &graph)
        let second = try graph.append(
          CrossEntropy(), [soft.logits, try rows.table(of: teacher, &graph)])[0]
        return try rows.sum(of: try graph.append(Add(), [loss, second])[0], &graph)
      },
      { graph, settings in
        let logits = try rows.table(of: output.value, &graph)
        let gradient = try graph.append(
          CrossEntropyGradient(), [logits, try rows.table(of: targets, &graph)])[0]
        guard let teacher else { return try rows.restored(gradient, &graph) }
        let soft = try Self.softened(logits, settings, &graph)
        let second = try graph.append(
          CrossEntropyGradient(), [soft.logits, try rows.table(of: teacher, &graph)])[0]
        let scaled = try graph.append(Divide(), [second, soft.temperature])[0]
        return try rows.restored(try graph.append(Add(), [gradient, scaled])[0], &graph)
      }
    )
  }

  /// The weighted cross-entropies of the auxiliary logits with the same targets, and their gradients.
  private mutating func auxiliaryLosses() throws -> [(logits: ValueID, loss: Part, seed: Part)] {
    try zip(step.outputs.dropFirst(), specification.auxiliaryWeights).map { output, weight in
      let type = step.type(of: output.value).with(layout: .plain)
      guard specification.loss == .crossEntropy, let rows = Rows(type),
        let targets = step.inputs.first(where: { step[$0].name == Input.targets.rawValue }),
        step.type(of: targets) == type
      else {
        throw GraftError(
          .unsupported, "the logits of an auxiliary output are \(type), unlike those of the output")
      }
      let factor = step.addParameter(
        step.unusedName("\(output.name).weight"), TensorType(.float32, [1]),
        Parameter(data: try TensorData([Float(weight)], shape: [1])))
      return (
        output.value,
        { graph, _ in
          let losses = try graph.append(
            CrossEntropy(),
            [rows.table(of: output.value, &graph), rows.table(of: targets, &graph)])[0]
          return try graph.append(Multiply(), [rows.sum(of: losses, &graph), factor])[0]
        },
        { graph, _ in
          let gradient = try graph.append(
            CrossEntropyGradient(),
            [rows.table(of: output.value, &graph), rows.table(of: targets, &graph)])[0]
          return try graph.append(Multiply(), [rows.restored(gradient, &graph), factor])[0]
        }
      )
    }
  }

  /// A loss of every position: logits [batch, positions, classes] as a matrix with a row for each position of
  /// each item; logits [batch, classes] are one already.
  private struct Rows {
    private let shape: TensorShape
    private let positions: Int?
    private let classes: Int

    init?(_ type: TensorType) {
      shape = type.shape
      guard (2...3).contains(shape.rank), let classes = shape[shape.rank - 1].constant else {
        return nil
      }
      self.classes = classes
      positions = shape.rank == 3 ? shape[1].constant : nil
      if shape.rank == 3, positions == nil { return nil }
    }

    func table(of value: ValueID, _ graph: inout Graph) throws -> ValueID {
      guard let positions else { return value }
      let matrix = TensorShape([.batch(times: positions), GraftIR.Dimension(classes)])
      return try graph.append(Reshape(shape: matrix), [value])[0]
    }

    func restored(_ table: ValueID, _ graph: inout Graph) throws -> ValueID {
      positions == nil ? table : try graph.append(Reshape(shape: shape), [table])[0]
    }

    /// The sum of an item's losses: [batch].
    func sum(of losses: ValueID, _ graph: inout Graph) throws -> ValueID {
      guard let positions else { return losses }
      let table = try graph.append(
        Reshape(shape: [shape[0], GraftIR.Dimension(positions)]), [losses])[0]
      return try graph.append(ReduceSum(axes: [1]), [table])[0]
    }
  }

  /// Binary cross-entropy with logits is cross-entropy of rows [0, z], one per logit z:
  /// softmax([0, z])[1] = sigmoid(z).
  private mutating func appendBinaryLoss(
    _ type: TensorType
  ) throws -> (loss: Part, seed: Part) {
    guard type.rank == 2, let classes = type.shape[1].constant, let output = step.outputs.first
    else {
      throw GraftError(.unsupported, "an output \(type), expected [batch, classes]")
    }
    let shape = type.shape
    let targets = step.addInput(
      Input.targets.rawValue, TensorType(.float32, [shape[0], shape[1], 2]))
    let pairs = TensorShape([.batch(times: classes), 2])
    func rows(_ graph: inout Graph) throws -> (logits: ValueID, targets: ValueID) {
      let column = TensorShape([.batch(times: classes), 1])
      let logits = try graph.append(Reshape(shape: column), [output.value])[0]
      return (
        try graph.append(Pad(pads: [0, 1, 0, 0]), [logits])[0],
        try graph.append(Reshape(shape: pairs), [targets])[0]
      )
    }
    return (
      { graph, _ in
        let (logits, targets) = try rows(&graph)
        let losses = try graph.append(CrossEntropy(), [logits, targets])[0]
        let table = try graph.append(Reshape(shape: shape), [losses])[0]
        return try graph.append(ReduceSum(axes: [1]), [table])[0]
      },
      { graph, _ in
        let (logits, targets) = try rows(&graph)
        let gradient = try graph.append(CrossEntropyGradient(), [logits, targets])[0]
        let own = try graph.append(
          Slice(axes: [1], starts: [1], extents: [1], steps: [1]), [gradient])[0]
        return try graph.append(Reshape(shape: shape), [own])[0]
      }
    )
  }

  /// The logits over the temperature, which is in the settings.
  private static func softened(
    _ logits: ValueID, _ settings: ValueID?, _ graph: inout Graph
  ) throws -> (logits: ValueID, temperature: ValueID) {
    guard let settings else {
      throw GraftError(.inconsistency, "distillation needs the input \(Input.settings.rawValue)")
    }
    let temperature = try graph.append(
      Slice(
        axes: [0], starts: [TrainingInterface.Setting.temperature.rawValue], extents: [1],
        steps: [1]),
      [settings])[0]
    return (try graph.append(Divide(), [logits, temperature])[0], temperature)
  }

  /// Zero, for a weight from which only steps such as Round lead to the loss: PyTorch's gradient of it, with which
  /// weight decay still changes it.
  private mutating func zeroGradient(of parameter: ValueID) throws -> ValueID {
    let type = step.type(of: parameter)
    let zeros = try TensorData(zeros: type.shape.constants ?? [])
    return step.addParameter(
      step.unusedName("\(step[parameter].name ?? "")/zero"), type, Parameter(data: zeros))
  }
}
