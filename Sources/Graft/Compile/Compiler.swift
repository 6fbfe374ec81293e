// The compiler driver: load, optimize, assign layouts, plan memory, generate, compile, write. Other modules
// implement each phase; this file calls them in order.

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
  /// The options of a compilation.
  public struct Options: Sendable {
    /// `imagenet`, `cifar10`, `none`, or the path of a JSON specification. Nil keeps that of a recompiled
    /// bundle.
    public var preprocessing: String?
    /// The class names; nil keeps those of a recompiled bundle.
    public var labels: [String]?
    /// The shapes of inputs with dynamic axes, by name: one set for each program of the bundle, in order, as
    /// ``InputShape/sets(of:)`` makes them. Of a bundle that is recompiled, the sets whose programs to keep.
    /// Empty for one program with the shapes in the file, or all programs of a bundle.
    public var inputShapes: [[String: InputShape]] = []
    public var target: CompilationTarget = .native
    /// The target of networks that the file says compute on bytes, and of the narrow precisions that
    /// ``Compiler/compileFastest(_:to:)`` tries; nil for ``target``.
    public var narrowTarget: CompilationTarget?
    /// Whether to minimize memory rather than time: no convolution uses transformed weights, which can be
    /// four times as large.
    public var isCompact = false
    /// How the schedules of convolutions are chosen; `graft compile` takes ``Tuning/quick``.
    public var tuning = Tuning.off
    /// The number format of layers. Nil is int8 if ``quantization`` is given, and otherwise keeps that of a bundle
    /// that is compiled again, with its recorded ranges; an .onnx file has float32.
    public var precision: Precision?
    /// What determines the ranges of bytes; nil takes those that a bundle records.
    public var quantization: QuantizationOptions?
    /// Labeled data on which the drop in accuracy from float32 to int8 is measured, and how much it may be; nil
    /// measures nothing.
    public var accuracy: AccuracyOptions?
    /// The training step to add to the bundle, which must have one program; nil for none.
    public var training: TrainableOptions?
    /// Called with a description of the current work, for a progress line.
    public var progress: @Sendable (String) -> Void = { _ in }

    public init() {}
  }

  /// A stage of the pipeline.
  public enum Stage: String, CaseIterable, Sendable {
    /// As imported, with shape arithmetic folded.
    case `import`
    /// After the passes that do not depend on the layout in memory.
    case optimized
    /// With layouts and execution order.
    case scheduled
    /// The scheduled graph with its memory plan.
    case memory
    /// A training step: ``TrainingStage``.
    case training
  }

  /// A graph at a stage of the pipeline.
  public struct Moment: Sendable {
    public var graph: Graph
    public var plan: MemoryPlan?
    /// Bytes that kernels need per thread in addition to the plan; nil without a plan, and for a graph
    /// without kernels.
    public var scratchBytesPerThread: Int?
    /// The log of the passes so far.
    public var passes: PassReport
  }

  public let options: Options

  public init(_ options: Options = Options()) { self.options = options }

  /// Reads an .onnx file or a bundle.
  public func load(_ path: String) throws -> SourceModel {
    options.progress("reading \(path.escapedForDisplay)")
    return try SourceModel(
      reading: path, inputShapes: options.inputShapes,
      withRanges: options.precision != .float32 && options.quantization == nil)
  }

  /// Compiles the model at `path` to a bundle at `output`. The bundle is written atomically.
  /// - Throws: ``GraftError`` that names the file, the node and the cause; nothing is written then.
  @discardableResult
  public func compile(_ path: String, to output: String) throws -> CompilationReport {
    var clock = StageClock()
    _ = try DirectoryReplacement(at: output, keeping: [path])
    let lock = try PathLock(on: output)
    defer { withExtendedLifetime(lock) {} }
    var model = try clock.measure("import") { try load(path) }
    try at(SourceLocation(file: path)) { try checkPrecision(of: model) }
    if let target = options.narrowTarget, options.training == nil, model.graph.isStoredInBytes {
      var options = options
      options.target = target
      options.narrowTarget = nil
      return try Compiler(options).compile(&model, at: path, to: output, clock)
    }
    return try compile(&model, at: path, to: output, clock)
  }

  /// - Throws: ``GraftError`` of kind `invalidArgument` where the options say what the file says already.
  private func checkPrecision(of model: SourceModel) throws {
    guard model.graph.isStoredInBytes,
      options.precision != nil || options.quantization != nil || options.accuracy != nil
    else { return }
    throw GraftError(
      .invalidArgument, "the network says itself how it is quantized, and computes so",
      advice:
        "Leave out --precision, --calibrate and --data, or give the network that it was made from.")
  }

  private func compile(
    _ model: inout SourceModel, at path: String, to output: String, _ clock: StageClock
  ) throws -> CompilationReport {
    var clock = clock
    let training = try at(SourceLocation(file: path)) {
      // Before the head is replaced, which may make a network of classes of one whose output is an image.
      try applyPreprocessing(to: &model)
      let training = try options.training.map { choice in
        try checkTrains(model)
        return try clock.measure("training graph") {
          try TrainableNetwork(replacingHeadOf: &model, choice, labels: options.labels)
        }
      }
      try applyLabels(to: &model)
      return training
    }
    return try compile(model, training: training, to: output, keeping: [path], clock: clock)
  }

  /// - Throws: ``GraftError`` of kind `invalidArgument` for a network of several sizes, or on bytes.
  private func checkTrains(_ model: SourceModel) throws {
    let precision =
      options.precision ?? (options.quantization == nil ? model.precision : .int8)
    guard precision == .float32 else {
      throw GraftError(
        .invalidArgument,
        "a training step computes in float32, the network is \(precision.rawValue)",
        advice: "Compile it with --precision float32, or train it with graft finetune.")
    }
    guard model.graphs.count > 1 else { return }
    throw GraftError(
      .invalidArgument,
      "a training step needs one set of input shapes, the bundle has \(model.graphs.count): "
        + model.graphs.map(\.inputShapeText).joined(by: "and"),
      advice: "Choose one with --input-shape.")
  }

  /// Compiles a network in memory.
  /// - Parameters:
  ///   - training: its training step; the network must be `model`'s.
  ///   - inputs: the paths that are read, none of which may be the output.
  ///   - relative: a bundle with similar kernels, whose objects are reused. Its convolutions keep their
  ///     schedules, and
  ///     nothing is tuned.
  ///   - feed: inputs that determine the ranges of a network on bytes that `model` does not record; nil for none.
  ///   - addFiles: called with the folder before the manifest is written; files that it writes become part of
  ///     the bundle.
  @discardableResult
  package func compile(
    _ model: SourceModel, training: TrainableNetwork? = nil, to output: String,
    keeping inputs: [String] = [], reusing relative: ModelBundle? = nil,
    calibratingOn feed: CalibrationFeed? = nil, clock: StageClock = StageClock(),
    addFiles: (_ folder: String) throws -> Void = { _ in }
  ) throws -> CompilationReport {
    if options.precision == nil, options.quantization == nil, model.precision == .bfloat16 {
      var own = options
      own.precision = .bfloat16
      return try Compiler(own).compile(
        model, training: training, to: output, keeping: inputs, reusing: relative,
        calibratingOn: feed, clock: clock, addFiles: addFiles)
    }
    var clock = clock
    let destination = try DirectoryReplacement(at: output, keeping: inputs)
    let toolchain = try Toolchain.find()
    let previous = try relative?.build(by: toolchain, for: options.target)

    options.progress("optimizing \(model.graph.nodeCount) nodes")
    let optimized = try clock.measure("passes") {
      try model.graphs.map { graph in
        try explained(of: inputs.first) {
          try optimize(graph, keeping: training?.valuesAtCut ?? [])
        }
      }
    }
    let graphs = optimized.map(\.graph)
    var quantization = try explained(of: inputs.first) {
      let isNew = options.quantization != nil || feed != nil
      return try clock.measure(isNew ? "calibration" : "ranges") {
        try self.quantization(of: graphs, model, calibratingOn: feed)
      }
    }
    let calibrationWarnings = quantization?.warnings ?? []
    var accuracy: AccuracySearch.Outcome?
    if let control = options.accuracy, let found = quantization {
      let outcome = try clock.measure("accuracy") {
        var search = try AccuracySearch(self, model, graphs, control)
        return try search.run(found)
      }
      quantization?.record.kept = outcome.report.kept
      if !outcome.isOnBytes { quantization = nil }
      accuracy = outcome
    }
    let lowered = try clock.measure("layouts and memory plan") {
      var weights: [String: TensorData] = [:]
      return try optimized.map { moment in
        var lowered = try explained(of: inputs.first) {
          try schedule(moment, quantizing: quantization)
        }
        lowered.program.graph.shareParameters(&weights)
        return lowered
      }
    }
    let programs = lowered.map(\.program)
    let isOnBytes = lowered.contains { $0.passes.isOnBytes }
    let missing = try explained(of: inputs.first) {
      try quantization?.checkRanges(of: graphs, isOnBytes: isOnBytes) ?? []
    }
    let tuned = try clock.measure("tuning") {
      try tune(programs, with: toolchain, like: relative)
    }
    let generated = try clock.measure("code generation") {
      var generator = generator
      generator.convolutions.variants = tuned.variants
      return try explained(of: inputs.first) {
        try generator.generate(programs, reusing: previous)
      }
    }
    try training?.check(generated.programs[0], programs[0].graph)
    let precision: Precision = isOnBytes ? .int8 : generated.roundsFactors ? .bfloat16 : .float32
    var unrounded: [Warning] = []
    if options.precision == .bfloat16, precision == .float32 {
      unrounded.append(
        Warning(
          "no layer is faster in bfloat16 on \(options.target.name), so all stay float32; of the targets, "
            + "\(CompilationTarget.x8664v4amx.name) has kernels for it"))
    }
    var writer = BundleWriter(
      model: model, scheduled: programs, generated: generated, toolchain: toolchain,
      isCompact: options.isCompact, roundsFactors: precision == .bfloat16,
      quantization: isOnBytes ? quantization?.record : nil,
      schedules: tuned.variants, training: training,
      previous: previous)
    try destination.write { folder in
      let steps = generated.programs.reduce(0) { $0 + $1.steps.count }
      options.progress("compiling \(steps) kernels")
      try clock.measure("clang and weights") { try writer.writeFiles(to: folder) }
      try addFiles(folder)
      try clock.measure("digests") { try writer.writeManifest(to: folder) }
    }
    return CompilationReport(
      warnings: model.warnings + calibrationWarnings + missing
        + (accuracy?.warnings ?? []) + unrounded + tuned.warnings,
      precision: precision, quantization: isOnBytes ? quantization?.note : nil,
      accuracy: accuracy?.report, training: training?.plan.summary,
      programs: lowered.indices.map { index in
        let (plan, program) = (programs[index].plan, generated.programs[index])
        return CompilationReport.Program(
          inputShapes: model.graphs[index].inputShapeText, passes: lowered[index].passes,
          nodes: program.steps.count, arenaBytes: plan.arenaBytes,
          lowerBoundBytes: plan.lowerBoundBytes,
          scratchBytesPerThread: program.scratchBytesPerThread,
          estimatedSlowdown: program.estimatedSlowdown,
          tuning: tuned.reports.indices.contains(index) ? tuned.reports[index] : nil)
      },
      stages: clock.stages, target: options.target.name, packedBytes: generated.packed.byteCount)
  }

  /// Runs a phase of the compilation and adds the file, and advice if there is none, to its errors.
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

  /// The schedules of convolutions in all programs.
  private struct Tuned {
    var variants: [ConvolutionSite: ConvolutionVariant] = [:]
    /// One report for each program; fewer if a program could not be tuned.
    var reports: [TuningReport] = []
    var warnings: [Warning] = []
  }

  /// Chooses the schedules of convolutions. Errors become warnings, because the cost model's choices are
  /// always available.
  private func tune(
    _ programs: [ScheduledProgram], with toolchain: Toolchain, like relative: ModelBundle?
  ) throws -> Tuned {
    if let relative {
      return Tuned(variants: relative.manifest.schedules(for: options.target))
    }
    guard options.tuning != .off else { return Tuned() }
    guard options.target.isRunnable else {
      return Tuned(warnings: [
        Warning(
          "not tuned: this machine cannot run \(options.target.name), so the cost model chose")
      ])
    }
    let tuner = Tuner(
      generator: generator, toolchain: toolchain, effort: options.tuning,
      progress: options.progress)
    var tuned = Tuned()
    do {
      for program in programs {
        let outcome = try tuner.tune(program)
        // A convolution that programs share keeps its first schedule.
        tuned.variants.merge(outcome.variants) { first, _ in first }
        tuned.reports.append(outcome.report)
        tuned.warnings = (tuned.warnings + outcome.warnings).uniqued()
      }
    } catch let error as GraftError {
      return Tuned(warnings: [
        Warning("not tuned: \(error.message), so the cost model chose", at: error.location)
      ])
    }
    return tuned
  }

  var generator: CodeGenerator {
    var generator = CodeGenerator(target: options.target)
    generator.roundsFactors = options.precision == .bfloat16
    // No transforms: tiles where there are any, else direct sums.
    if options.isCompact { generator.convolutions.algorithm = .matrixTiles }
    return generator
  }

  private func applyPreprocessing(to model: inout SourceModel) throws {
    if let choice = options.preprocessing {
      let old = model.preprocessing
      model.preprocessing = try Preprocessing.chosen(choice, for: model.graphs)
      if model.quantization != nil, options.quantization == nil, options.precision != .float32,
        old != model.preprocessing
      {
        model.warnings.append(
          Warning(
            "the recorded ranges are those of another preprocessing; calibrate again with --precision int8 "
              + "--calibrate DATA"))
      }
    } else if let kept = model.preprocessing {
      do { try kept.check(model.graphs) } catch let error as GraftError {
        throw GraftError(
          error.kind, "the bundle's preprocessing does not fit: \(error.message)",
          advice: "Give another with --preprocess, or none with --preprocess none.")
      }
    }
  }

  private func applyLabels(to model: inout SourceModel) throws {
    if let labels = options.labels { model.labels = labels }
    guard let labels = model.labels else { return }
    for graph in model.graphs where !graph.outputs.isEmpty {
      let output = graph.outputs[try graph.classOutput(labels: labels.count)]
      let shape = graph.type(of: output.value).shape
      let ending = try Ending(of: output.value, in: graph)
      let extents = TensorShape(Array(shape.dimensions.dropFirst())).constants
      guard extents.flatMap({ PictureOutput(model.preprocessing, shape: $0) }) == nil else {
        throw GraftError(
          .invalidArgument,
          "there are \(labels.count) labels, but the output \(output.name.quotedForDisplay) is an image",
          advice: "Leave out the labels, or output in the preprocessing.")
      }
      guard labels.count == ending.classes, shape.rank >= 2 else {
        throw GraftError(
          .invalidArgument,
          "there are \(labels.count) labels, but the output \(output.name.quotedForDisplay) has "
            + "shape \(shape)")
      }
    }
  }
}

extension Graph {
  /// The shape of the only input, or the names and shapes of several.
  fileprivate var inputShapeText: String {
    inputs.map { Session.Port(name: self[$0].name ?? "", type: type(of: $0)) }.shapeText
  }
}
