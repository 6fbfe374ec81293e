// Code generation for training. One library contains two programs: the training step, and the evaluation of the same
// network. Both use the same table of state, kernels and file of constants.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Generates the C of libtrain.so and the contents of train.bin.
public struct TrainingGenerator: Sendable {
  public var target: Target
  /// Kernels are spread over this many files, so that as many compilers can run at once.
  public var kernelFiles: Int

  public init(target: Target, kernelFiles: Int = 4) {
    self.target = target
    self.kernelFiles = max(1, kernelFiles)
  }

  /// The batch size for which algorithms are chosen, for any batch size at run time, so that results do not
  /// depend on the maximum batch size.
  private static let typicalBatch = 16

  /// Generates a library from scheduled graphs whose values all have layouts.
  ///
  /// State are the parameters that are marked as trained, by name, in either graph. An output of the
  /// step that has the name of a state is its new contents; the others are `loss` [batch] and `logits`.
  /// - Parameter groupNames: the groups of weights, in the order of the rows of `hyperparameters`.
  /// - Returns: the sources; its programs are the step and the evaluation.
  /// - Throws: ``GraftError`` if no kernel can do what a node asks, where a state is read after it was
  ///   written, or where inputs and outputs are not those of a training step.
  public func generate(
    step: Graph, stepPlan: MemoryPlan, evaluation: Graph, evaluationPlan: MemoryPlan,
    groupNames: [String]
  ) throws -> GeneratedModel {
    var table = try StateTable(step: step, evaluation: evaluation, groupNames: groupNames)
    let numbers = table.numbers
    let library = KernelLibrary()
    var training = Lowering(
      graph: step, plan: stepPlan, target: target, selection: try selection(for: step),
      library: library, states: numbers)
    try training.run()
    var evaluating = Lowering(
      graph: evaluation, plan: evaluationPlan, target: target,
      selection: try selection(for: evaluation), library: library, weights: training.weights,
      states: numbers)
    try evaluating.run()
    var weights = evaluating.weights
    let constantBytes = weights.payloadBytes
    try table.addContents(to: &weights)
    let buildID = Fingerprint.of([training, evaluating], target: target)
    weights.buildID = buildID

    func writer(_ kind: ProgramKind, _ lowering: Lowering, _ graph: Graph, _ plan: MemoryPlan)
      -> ModelWriter
    {
      ModelWriter(
        graph: graph, plan: plan, target: target, lowering: lowering, buildID: buildID,
        kind: kind, packedBytes: weights.byteCount,
        state: StateSummary(count: table.states.count, constantBytes: constantBytes))
    }
    let stepModel = try writer(.step, training, step, stepPlan).model()
    let evaluationModel = try writer(
      .evaluation, evaluating, evaluation, evaluationPlan
    ).model()
    let sources =
      try [
        SourceFile(
          name: ProgramKind.step.kernelsHeader, text: ModelWriter.kernelsHeader(for: target),
          role: .header),
        SourceFile(name: StateTable.headerName, text: StateTable.header, role: .header),
        SourceFile(name: ProgramKind.step.fileName, text: stepModel.text, role: .kernel),
        SourceFile(
          name: ProgramKind.evaluation.fileName, text: evaluationModel.text, role: .kernel),
        SourceFile(
          name: "train_tables.c",
          text: table.source(outputs: training.places.callerOutputs, of: step),
          role: .baseline),
        SourceFile(
          name: "train_exports.map", text: "{ global: graft_training; local: *; };\n",
          role: .linkerScript),
      ]
      + CodeGenerator.kernelSources(
        library.kernels, files: kernelFiles, target: target, prefix: "train_")
      + CodeGenerator.trainingRuntimeSources()
    return GeneratedModel(
      target: target, sources: sources, packed: weights, buildID: buildID,
      programs: [
        try GeneratedProgram(training, taps: stepModel.taps),
        try GeneratedProgram(evaluating, taps: evaluationModel.taps),
      ], libraryName: "libtrain.so", states: table.states.map(\.state))
  }

  private func selection(for graph: Graph) throws -> KernelSelection {
    try KernelSelection(
      SelectionContext(graph: graph, target: target, typicalBatch: Self.typicalBatch))
  }
}

/// What a program says of the state.
struct StateSummary {
  var count: Int
  /// Bytes of the payload before the state's first contents.
  var constantBytes: Int
}

/// The state of training: tensors that outlive a step.
struct StateTable {
  struct Entry {
    var state: TrainedState
    /// nil: zeros.
    var data: TensorData?
    /// Bytes into the payload of train.bin.
    var offset: Int?
  }

  static let headerName = "train_tables.h"
  private(set) var states: [Entry] = []
  private let groupNames: [String]
  private let flags: [String]
  private let ownInputs: Int

  /// - Throws: ``GraftError`` if the step lacks an input or an output of a training step, or where a
  ///   state has no first contents.
  init(step: Graph, evaluation: Graph, groupNames: [String]) throws {
    self.groupNames = groupNames
    let inputs = step.inputs.map { step[$0].name ?? "" }
    let given = TrainingInterface.Input.allCases.filter { inputs.contains($0.rawValue) }
    let own = given.filter(\.isWrittenByLibrary).map(\.rawValue)
    guard own.first == TrainingInterface.Input.hyperparameters.rawValue,
      Array(inputs.suffix(own.count)) == own
    else {
      throw GraftError(
        .inconsistency,
        "a training step's last inputs are hyperparameters, settings and random, found \(inputs)")
    }
    ownInputs = own.count
    flags = given.compactMap(\.flag)
    let groups = try Self.groups(of: step)
    for graph in [step, evaluation] {
      for id in graph.parameters {
        guard let parameter = graph[id].parameter, parameter.isTrained, let name = graph[id].name
        else { continue }
        if let present = states.first(where: { $0.state.name == name })?.state {
          guard present.type.shape == graph.type(of: id).shape else {
            throw GraftError(
              .inconsistency,
              "state \(name.quotedForDisplay) is \(present.type) and \(graph.type(of: id))")
          }
          continue
        }
        states.append(try Self.entry(name, graph.type(of: id), parameter, groups[name]))
      }
    }
    let names = Set(states.map(\.state.name))
    let outputs = step.outputs.map(\.name).filter { !names.contains($0) }
    let expected = TrainingInterface.Output.allCases.map(\.rawValue)
    guard outputs == expected else {
      throw GraftError(
        .inconsistency,
        "a training step's outputs are \(expected.joined(separator: " and ")), found \(outputs)")
    }
  }

  /// The row of the hyperparameters that each weight's update reads.
  private static func groups(of step: Graph) throws -> [String: Int] {
    var groups: [String: Int] = [:]
    for node in step.nodes {
      let operation = try Catalog.operation(of: node)
      guard let group = (operation as? any OptimizerUpdate)?.group, let weight = node.operand(0),
        let name = step[weight].name
      else { continue }
      groups[name] = group
    }
    return groups
  }

  private static func entry(
    _ name: String, _ type: TensorType, _ parameter: Parameter, _ group: Int?
  ) throws -> Entry {
    guard let data = parameter.data, type.shape.constants != nil else {
      throw GraftError(
        .invalidGraph, "state \(name.quotedForDisplay) has no initial value, or no constant shape")
    }
    let role = TrainingInterface.StateRole(group: parameter.group)
    let isZero = !role.isOfNetwork && data.withUnsafeBytes { $0.allSatisfy { $0 == 0 } }
    return Entry(
      state: TrainedState(
        name: name, type: TensorType(.float32, type.shape), role: role, group: group),
      data: isZero ? nil : data)
  }

  /// The number of each state by name.
  var numbers: [String: Int] {
    Dictionary(
      states.enumerated().map { ($1.state.name, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// Puts the first contents behind the constants.
  mutating func addContents(to weights: inout PackedWeights) throws {
    for index in states.indices {
      guard let data = states[index].data else { continue }
      states[index].offset = weights.add(
        [], form: "state \(states[index].state.name)", floatCount: max(1, data.elementCount)
      ) { WeightPacking.vector(data.floats(), into: $0) }
    }
  }

  // MARK: C

  static let header = """
    /* What the files of a training library share: its state and its programs' descriptions. */
    #ifndef TRAIN_TABLES_H
    #define TRAIN_TABLES_H
    #include "graft_train.h"

    extern const graft_description graft_description_of_step;
    extern const graft_description graft_description_of_evaluation;
    extern const graft_state graft_states[];

    #endif

    """

  func source(outputs: [GraphOutput], of step: Graph) -> String {
    let rows = states.map { entry in
      let state = entry.state
      let offset = entry.offset.map { "\($0)" } ?? "GRAFT_ZEROS"
      let group = state.group.map { "\($0)" } ?? "GRAFT_NO_GROUP"
      return "    {\(ModelWriter.row(state.type, name: state.name)),\n     "
        + "\(state.role.constant), \(group), \(offset)},"
    }
    let names = groupNames.map { "    \(CText.literal($0))," }
    let classes =
      outputs.last.flatMap {
        TensorShape(Array(step.type(of: $0.value).shape.dimensions.dropFirst())).elementCount?
          .constant
      } ?? 0
    return """
      /* The state of the training of \(CText.comment(step.name)), generated by Graft. */
      #include "train_tables.h"
      #include "graft_runtime.h"

      const graft_state graft_states[] = {
      \(rows.isEmpty ? "    {{\"\", GRAFT_FLOAT32, 0, {{0, 0}}, 0}, 0, 0, 0}," :
        rows.joined(separator: "\n"))
      };

      static const char *const group_names[] = {
      \(names.isEmpty ? "    \"\"," : names.joined(separator: "\n"))
      };

      const graft_training_description graft_description_of_training = {
          .abi_version = GRAFT_TRAINING_ABI_VERSION,
          .flags = \(flags.isEmpty ? "0" : flags.joined(separator: " | ")),
          .step = &graft_description_of_step,
          .evaluation = &graft_description_of_evaluation,
          .step_input_count = \(step.inputs.count - ownInputs),
          .state_count = \(states.count),
          .states = graft_states,
          .group_count = \(groupNames.count),
          .group_names = group_names,
          .class_count = \(classes),
      };

      """
  }
}
