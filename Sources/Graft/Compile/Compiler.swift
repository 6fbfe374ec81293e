// The compiler as a whole: load, optimize, lay out, plan, generate, compile, write. Other modules do each step;
// this file calls them in order.

import Foundation
import GraftAutodiff
import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftPasses
import GraftPlanning

/// Compiles networks into bundles.
///
/// ```swift
/// let report = try Compiler().compile("resnet20.onnx", to: "resnet20.graft")
/// ```
public struct Compiler: Sendable {
  /// What can be chosen when compiling.
  public struct Options: Sendable {
    /// `imagenet`, `cifar10`, `none`, or the path of a JSON specification. Nil keeps what a bundle
    /// that is compiled again has.
    public var preprocessing: String?
    /// The names of the classes; nil keeps what a bundle has.
    public var labels: [String]?
    /// Shapes that fix the free axes of inputs, by name.
    public var inputShapes: [String: InputShape] = [:]
    public var target: CompilationTarget = .native
    /// Whether the least memory goes before speed: every convolution keeps the weights as large as they
    /// are, where others would take transformed ones of up to four times the size.
    public var isCompact = false
    /// How the schedules of convolutions are chosen; `graft compile` takes ``Tuning/quick``.
    public var tuning = Tuning.off
    /// The training step that goes into the bundle too; nil for a bundle that only runs.
    public var training: TrainableOptions?
    /// Told what is being done, for a progress line.
    public var progress: @Sendable (String) -> Void = { _ in }

    public init() {}
  }

  /// A moment of the pipeline.
  public enum Stage: String, CaseIterable, Sendable {
    /// As imported, shape arithmetic folded.
    case `import`
    /// After the passes that do not depend on the layout in memory.
    case optimized
    /// With layouts and execution order.
    case scheduled
    /// The same, with its memory plan.
    case memory
    /// A training step: ``TrainingMoment``.
    case training
  }

  /// A graph at a moment of the pipeline.
  public struct Moment: Sendable {
    public var graph: Graph
    public var plan: MemoryPlan?
    /// Bytes that kernels need for each thread beside the plan; nil without a plan, and for a graph that
    /// kernels cannot do.
    public var scratchBytesPerThread: Int?
    /// What the passes did up to here.
    public var passes: PassReport
  }

  public let options: Options

  public init(_ options: Options = Options()) { self.options = options }

  /// Reads an .onnx file or a bundle.
  public func load(_ path: String) throws -> SourceModel {
    options.progress("reading \(path.escapedForDisplay)")
    return try SourceModel(reading: path, inputShapes: options.inputShapes)
  }

  /// Lowers `graph` to `stage`, or to the moment after one pass.
  /// - Parameter pass: the name of a pass; then `stage` does not matter.
  /// - Throws: ``GraftError`` of kind `invalidArgument` for a pass that there is not, and for the stage of
  ///   training, which is no moment of this pipeline.
  public func lower(
    _ graph: Graph, to stage: Stage, afterPass pass: String? = nil
  ) throws -> Moment {
    var moment = Moment(graph: graph, plan: nil, passes: PassReport())
    guard pass != nil || stage != .training else {
      throw GraftError(
        .invalidArgument, "a training step needs training options")
    }
    if pass == nil, stage == .import { return moment }
    try run(Pipeline.inference, on: &moment, keepsGraphs: pass != nil)
    if pass == nil, stage == .optimized { return moment }
    try run(Pipeline.layout, on: &moment, keepsGraphs: pass != nil)
    if let pass {
      guard let graph = moment.passes.graph(after: pass) else {
        throw GraftError(
          .invalidArgument,
          "unknown pass \(pass.quotedForDisplay); the passes are "
            + Pipeline.passNames.uniqued().joined(separator: ", "))
      }
      return Moment(graph: graph, plan: nil, passes: moment.passes)
    }
    moment.passes.notes.append(try moment.graph.scheduleForMemory().note)
    generator.noteKernels(in: &moment.graph)
    if stage == .memory {
      moment.plan = try MemoryPlan(planning: moment.graph)
      moment.scratchBytesPerThread = try? generator.scratchBytesPerThread(graph: moment.graph)
    }
    return moment
  }

  /// Lowers `graph` to its memory plan so that some of its values can still be handed out.
  /// - Parameter kept: the values, with the names that taps are to find them under.
  private func lower(_ graph: Graph, keeping kept: [GraphOutput]) throws -> Moment {
    var moment = Moment(graph: graph, plan: nil, passes: PassReport())
    let taken = Set(graph.outputs.map(\.name))
    for (index, value) in kept.enumerated() {
      // As outputs they outlive every fusion.
      var name = "freeze line \(index)"
      while taken.contains(name) { name += "'" }
      moment.graph.outputs.append(GraphOutput(name: name, value: value.value))
    }
    try run(Pipeline.inference, on: &moment, keepsGraphs: false)
    let values = moment.graph.outputs.suffix(kept.count).map(\.value)
    moment.graph.outputs.removeLast(kept.count)
    for (entry, value) in zip(kept, values) { moment.graph.rename(value, to: entry.name) }
    moment.graph.removeDeadCode()
    try run(Pipeline.layout, on: &moment, keepsGraphs: false)
    moment.passes.notes.append(try moment.graph.scheduleForMemory().note)
    moment.plan = try MemoryPlan(planning: moment.graph)
    return moment
  }

  private func run(
    _ pipeline: [PipelineEntry], on moment: inout Moment, keepsGraphs: Bool
  ) throws {
    let manager = PassManager(
      pipeline, costs: KernelCostModel(target: options.target), keepsGraphs: keepsGraphs)
    moment.passes.append(try manager.run(&moment.graph))
  }

  /// Compiles the model at `path` into a bundle at `output`, whole or not at all.
  /// - Throws: ``GraftError`` that names the file, the node and the cause; nothing is written then.
  @discardableResult
  public func compile(_ path: String, to output: String) throws -> CompilationReport {
    var clock = StageClock()
    _ = try DirectoryReplacement(at: output, keeping: [path])
    var model = try clock.measure("import") { try load(path) }
    let training = try at(SourceLocation(file: path)) {
      let training = try options.training.map { choice in
        try clock.measure("training graph") {
          try TrainableNetwork(replacingHeadOf: &model, choice, labels: options.labels)
        }
      }
      try applyOptions(to: &model)
      return training
    }
    return try compile(model, training: training, to: output, keeping: [path], clock: clock)
  }

  /// Compiles a network that is in memory already.
  /// - Parameters:
  ///   - training: the training step that goes with it; its network must be `model`'s.
  ///   - inputs: what is being read, none of which may be the output.
  ///   - relative: a bundle with much the same kernels, of which only those that it lacks are compiled. Its
  ///     convolutions keep their schedules, and none are tuned.
  ///   - addFiles: called with the folder when all but the manifest is in it; what it writes belongs to the
  ///     bundle.
  @discardableResult
  package func compile(
    _ model: SourceModel, training: TrainableNetwork? = nil, to output: String,
    keeping inputs: [String] = [], reusing relative: ModelBundle? = nil,
    clock: StageClock = StageClock(), addFiles: (_ folder: String) throws -> Void = { _ in }
  ) throws -> CompilationReport {
    var clock = clock
    let destination = try DirectoryReplacement(at: output, keeping: inputs)
    let toolchain = try Toolchain.find()
    let previous = try relative?.build(by: toolchain, for: options.target)

    options.progress("optimizing \(model.graph.nodeCount) nodes")
    let moment = try clock.measure("passes and memory plan") {
      try explained(of: inputs.first) {
        try lower(model.graph, keeping: training?.valuesAtCut ?? [])
      }
    }
    guard let plan = moment.plan else {
      throw GraftError(.inconsistency, "the last stage has no memory plan")
    }
    let tuned = try clock.measure("tuning") {
      try tune(moment.graph, plan, with: toolchain, like: relative)
    }
    let generated = try clock.measure("code generation") {
      var generator = generator
      generator.convolutions.variants = tuned.variants
      return try explained(of: inputs.first) {
        try generator.generate(graph: moment.graph, plan: plan, reusing: previous)
      }
    }
    try training?.check(generated, moment.graph)
    var writer = BundleWriter(
      model: model, scheduled: moment.graph, plan: plan, generated: generated,
      toolchain: toolchain, isCompact: options.isCompact, schedules: tuned.variants,
      training: training, reusing: previous)
    try destination.write { folder in
      options.progress("compiling \(generated.steps.count) kernels")
      try clock.measure("clang and weights") { try writer.writeFiles(to: folder) }
      try addFiles(folder)
      try clock.measure("digests") { try writer.writeManifest(to: folder) }
    }
    return CompilationReport(
      warnings: model.warnings + tuned.warnings, training: training?.plan.summary,
      passes: moment.passes,
      stages: clock.stages, target: options.target.name, nodes: generated.steps.count,
      packedBytes: generated.packed.byteCount, arenaBytes: plan.arenaBytes,
      lowerBoundBytes: plan.lowerBoundBytes,
      scratchBytesPerThread: generated.scratchBytesPerThread,
      estimatedSlowdown: generated.estimatedSlowdown, tuning: tuned.report)
  }

  /// Runs a step of the compilation; its errors gain the file, and what to do where they do not say.
  private func explained<Result>(of file: String?, _ body: () throws -> Result) throws -> Result {
    do { return try at(SourceLocation(file: file), body) } catch var error as GraftError {
      if error.kind == .unsupported, error.advice == nil {
        error.advice =
          "docs/operators.md lists the supported operators; graft dump --stage import shows the node "
          + "in its context."
      }
      throw error
    }
  }

  /// Chooses the schedules of convolutions. What goes wrong is no reason to have no bundle: the cost model's
  /// choices are always there.
  private func tune(
    _ graph: Graph, _ plan: MemoryPlan, with toolchain: Toolchain, like relative: ModelBundle?
  ) throws -> Tuner.Outcome {
    if let relative {
      return Tuner.Outcome(variants: relative.manifest.schedules(for: options.target))
    }
    guard options.tuning != .off else { return Tuner.Outcome() }
    guard options.target.isRunnable else {
      return Tuner.Outcome(warnings: [
        Warning(
          "not tuned: this machine cannot run \(options.target.name), so the cost model chose")
      ])
    }
    let tuner = Tuner(
      generator: generator, toolchain: toolchain, effort: options.tuning,
      progress: options.progress)
    do { return try tuner.tune(graph, plan: plan) } catch let error as GraftError {
      return Tuner.Outcome(warnings: [
        Warning("not tuned: \(error.message), so the cost model chose", at: error.location)
      ])
    }
  }

  private var generator: CodeGenerator {
    var generator = CodeGenerator(target: options.target)
    if options.isCompact { generator.convolutions.algorithm = .direct }
    return generator
  }

  private func applyOptions(to model: inout SourceModel) throws {
    if let choice = options.preprocessing {
      model.preprocessing = try Preprocessing.chosen(choice, for: model.graph)
    }
    if let labels = options.labels { model.labels = labels }
    guard let labels = model.labels, !model.graph.outputs.isEmpty else { return }
    let output = model.graph.outputs[try model.graph.classOutput(labels: labels.count)]
    let shape = model.graph.type(of: output.value).shape
    let ending = try Ending(of: output.value, in: model.graph)
    // A map with a row of classes for each pixel has them along its channels.
    let channels = shape.rank >= 2 ? shape[1].constant : nil
    guard labels.count == ending.classes || labels.count == channels, shape.rank >= 2 else {
      throw GraftError(
        .invalidArgument,
        "there are \(labels.count) labels, but the output \(output.name.quotedForDisplay) has "
          + "shape \(shape)")
    }
  }
}

extension ModelBundle {
  /// The sources and objects of the bundle's library, where `toolchain` would make the same of them.
  /// - Throws: ``GraftError`` of kind `invalidBundle` naming a file that is damaged.
  fileprivate func build(
    by toolchain: Toolchain, for target: CompilationTarget
  ) throws -> PreviousBuild? {
    guard manifest.tool == GraftVersion.tool, manifest.compiler == toolchain.version,
      manifest.target
        == Manifest.Target(
          name: target.name, features: target.requiredFeatures, lanes: target.lanes)
    else { return nil }
    let names = manifest.files.keys.filter {
      !$0.hasPrefix("train") && [".c", ".h", ".o"].contains($0.suffix(2))
    }.sorted()
    try checkDigests(of: names)
    return try PreviousBuild(folder: path, names: names)
  }
}

extension Graph {
  /// Names the result of a node, taking the name from any other result that bears it.
  fileprivate mutating func rename(_ value: ValueID, to name: String) {
    guard producer(of: value) != nil else { return }
    for other in nodes.flatMap(\.results) where self[other].name == name {
      self[other].name = nil
    }
    self[value].name = name
  }
}

extension ScheduleReport {
  /// The line of the pass log.
  var note: PassNote {
    let isChanged = bytesAfter < bytesBefore
    return PassNote(
      pass: "schedule", action: isChanged ? .did : .left,
      message: isChanged
        ? "put the nodes in \(order) order: \(bytesAfter) live bytes per image instead of "
          + "\(bytesBefore)"
        : "kept the order of the file: no other order has fewer than \(bytesBefore) live bytes per image"
    )
  }
}

/// How long each step took, in order.
package struct StageClock {
  private(set) var stages: [(name: String, seconds: Double)] = []

  package init() {}

  mutating func measure<Result>(_ name: String, _ body: () throws -> Result) rethrows -> Result {
    let clock = ContinuousClock()
    let start = clock.now
    defer { stages.append((name, (clock.now - start) / .seconds(1))) }
    return try body()
  }
}

extension Sequence where Element: Hashable {
  /// The elements without those that came before.
  func uniqued() -> [Element] {
    var seen = Set<Element>()
    return filter { seen.insert($0).inserted }
  }
}
