// A complete fine-tuning run, from a bundle and data to a tuned bundle. This file has the order of the steps;
// each step is in its own file.

import Foundation
import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
import GraftPlanning
import GraftRuntime

/// Fine-tunes a compiled bundle.
///
/// ```swift
/// var options = FineTuner.Options(data: "photos")
/// options.unfreeze = .scope("layer4")
/// let report = try FineTuner("resnet18.graft", options).run(to: "tuned.graft")
/// ```
///
/// The input bundle is never modified. Running a bundle executes its author's code.
public struct FineTuner {
  /// The results of one epoch.
  public struct Epoch: Codable, Sendable, Equatable {
    /// From 1.
    public var epoch: Int
    /// The mean loss of the training items, each measured when it was trained on.
    public var loss: Double
    /// The fraction of them (or of their positions with a class) that were predicted correctly, 0 to 1; nil for
    /// a regression.
    public var accuracy: Double?
    public var validationLoss: Double?
    public var validationAccuracy: Double?
    /// For networks with a class for every position: the mean over classes of the positions that are and were
    /// predicted as a class, of those that are or were, 0 to 1.
    public var validationMeanIoU: Double?
    /// The learning rate of the first parameter group at the end of the epoch.
    public var learningRate: Double
    public var seconds: Double
    public var imagesPerSecond: Double
    /// The time of its end, in seconds since 1970.
    public var time: Double

    enum CodingKeys: String, CodingKey {
      case epoch, loss, accuracy, seconds, time
      case validationLoss = "val_loss"
      case validationAccuracy = "val_accuracy"
      case validationMeanIoU = "val_mean_iou"
      case learningRate = "lr"
      case imagesPerSecond = "images_per_second"
    }
  }

  /// The results of a run.
  public struct Report: Codable, Sendable {
    public var epochs: [Epoch]
    /// The epoch whose weights are in the bundle.
    public var kept: Int
    public var trainingItems: Int
    public var validationItems: Int
    public var trainedParameters: Int
    /// Nil if nothing was pruned.
    public var pruning: Manifest.Pruning?
    public var seconds: Double
    /// The peak resident memory of the process in bytes.
    public var peakBytes: Int

    enum CodingKeys: String, CodingKey {
      case epochs, kept, seconds, pruning
      case peakBytes = "peak_bytes"
      case trainingItems = "training_items"
      case validationItems = "validation_items"
      case trainedParameters = "trained_parameters"
    }
  }

  /// The progress of a run.
  public struct Progress: Sendable {
    /// From 1.
    public var epoch: Int
    public var epochs: Int
    /// The number of items trained on in this epoch so far, and in total.
    public var done: Int
    public var count: Int
    /// The mean loss over these items.
    public var loss: Double
    /// The fraction predicted correctly, 0 to 1; nil for a regression.
    public var accuracy: Double?
    public var imagesPerSecond: Double
    /// The estimated seconds until the end of the run.
    public var secondsLeft: Double
  }

  /// An event during a run.
  public enum Event: Sendable {
    /// A description of work outside of epochs.
    case doing(String)
    case step(Progress)
    case finished(Epoch)
    case note(String)
    /// A warning that is also in the report, such as skipped files.
    case warning(Warning)
  }

  public let options: Options
  public internal(set) var warnings: [Warning] = []
  let bundle: ModelBundle
  let path: String
  /// The memory budgets.
  var room = MemoryRoom()
  /// Measurements of the run.
  var measurements = Measurements()

  /// Measurements of a run up to the end of its last epoch.
  struct Measurements {
    /// Bytes of the trainer's activations, scratch and state.
    var sessionBytes = 0
    /// The part of ``sessionBytes`` for the arena of a training step.
    var arenaBytes = 0
    /// The recomputed operators of one image.
    var recomputation = RematerializationReport()
    /// The peak resident memory during training in bytes.
    var trainingPeak = 0
    /// The mean size in bytes of the decoded images of random views; 0 if there are none.
    var pictureBytes = 0
    /// The number of items read, the number cached at the freeze line, and the seconds for both.
    var itemsRead = 0
    var cachedRows = 0
    var seconds = 0.0
  }

  /// - Throws: ``GraftError`` if the bundle is damaged or an option is invalid.
  public init(_ bundle: String, _ options: Options) throws {
    try options.validate()
    self.options = options
    self.bundle = try ModelBundle(opening: bundle)
    path = bundle
  }

  /// Trains, and writes the tuned bundle to `output` atomically.
  /// - Throws: ``GraftError`` that names the file, the node and the cause.
  public mutating func run(
    to output: String, observe: (Event) throws -> Void = { _ in }
  ) throws -> Report {
    let start = ContinuousClock.now
    try options.pathUses(bundle: path, output: output).check()
    var checkpoint = Checkpoint(folder: options.checkpointFolder(of: output))
    let locks = try [output, checkpoint.folder].compactMap { try PathLock(on: $0) }
    defer { withExtendedLifetime(locks) {} }
    try checkpoint.checkPlace(options)
    let isNew = !FileManager.default.fileExists(atPath: checkpoint.folder)
    if options.checkpoint != nil { try checkpoint.prepare() }
    TemporaryPaths.sayWhenInterrupted(
      "graft: interrupted before the end of the first epoch; nothing was saved")
    defer { TemporaryPaths.sayWhenInterrupted(nil) }
    do {
      let recorded = options.resumes ? try CheckpointRecord(of: checkpoint.folder) : nil
      if options.resumes { Self.tellHowToGoOn(from: checkpoint) }
      try observe(.doing("reading \(path.escapedForDisplay)"))
      let plan = try plan(observe: observe)
      checkpoint.record = try CheckpointRecord(plan, output: output)
      if let recorded {
        if let own = checkpoint.record { try recorded.check(own, in: checkpoint.folder) }
        // The folder is kept if the original run named it.
        checkpoint.record?.options["checkpoint"] = recorded.options["checkpoint"]
      }
      let records = try RunRecords(options)
      try chooseRoom(plan, observe: observe)
      return try execute(
        plan, to: output, checkpoint: checkpoint, records: records, since: start, observe: observe)
    } catch var error as GraftError {
      // Without a state, its metadata is removed too.
      if !checkpoint.exists { checkpoint.removeState() }
      // Fails without effect if the folder contains a state.
      if isNew { rmdir(checkpoint.folder) }
      // A state that cannot be read is no place to continue from.
      if checkpoint.exists, error.location.file != checkpoint.state,
        error.location.file != checkpoint.folder, !(error.advice ?? "").contains("--resume")
      {
        error.advice =
          (error.advice.map { $0 + " " } ?? "")
          + "The state is saved; continue with: " + checkpoint.resumeCommand
      }
      throw error
    }
  }

  /// Opens all inputs of a run, and reports what is skipped.
  mutating func plan(observe: (Event) throws -> Void) throws -> RunPlan {
    let plan = try RunPlan(bundle, at: path, options)
    try observe(.note("\(options.data.escapedForDisplay): \(plan.whole.summary)"))
    try tell(plan.warnings, observe: observe)
    return plan
  }

  /// Sets the message for Ctrl-C.
  private static func tellHowToGoOn(from checkpoint: Checkpoint) {
    guard checkpoint.exists else { return }
    TemporaryPaths.sayWhenInterrupted(
      "graft: interrupted; the state is saved, continue with:\n  " + checkpoint.resumeCommand)
  }

  /// Trains as planned, and writes the tuned bundle.
  mutating func execute(
    _ planned: RunPlan, to output: String, checkpoint: Checkpoint, records: RunRecords,
    since start: ContinuousClock.Instant, observe: (Event) throws -> Void
  ) throws -> Report {
    let trained = try train(planned, to: output, checkpoint, records, observe: observe)
    let (plan, options) = (trained.plan, trained.plan.options)
    try observe(.doing("compiling the tuned network"))
    var compilerOptions = Compiler.Options()
    compilerOptions.target = options.target
    compilerOptions.isCompact = bundle.manifest.isCompact ?? false
    var preprocessing = bundle.manifest.preprocessing
    // A network that was trained for classes does not give images any more.
    if plan.network.picture == nil { preprocessing?.output = nil }
    let recorded = try bundle.loadQuantization()
    let compiled = try Compiler(compilerOptions).compile(
      SourceModel(
        graphs: plan.networks(withWeightsOf: trained.network), preprocessing: preprocessing,
        labels: trained.classes.isEmpty ? bundle.manifest.labels : trained.classes,
        provenance: bundle.manifest.provenance, warnings: [],
        fineTuning: Manifest.FineTuning(
          weightsSHA256: bundle.manifest.files[BundleLayout.weights]?.sha256 ?? "",
          unfreeze: "\(options.unfreeze)", head: options.trainingChoices.head.description,
          bn: options.normalization.rawValue, optimizer: options.optimizer.rawValue,
          loss: trained.loss.rawValue, seed: options.seed, epoch: trained.report.kept,
          pruning: trained.report.pruning),
        quantization: recorded?.restricted(to: plan.training.parts.trunk),
        precision: bundle.manifest.precision),
      to: output, keeping: [path], reusing: bundle,
      calibratingOn: recorded.map { plan.calibration($0.method, on: trained.places) }
    ) { folder in
      try observe(.doing("writing the report"))
      try records.finish(
        trained.report.epochs, report: trained.draft.html(network: trained.network, in: folder),
        into: folder)
    }
    try tell(compiled.warnings, observe: observe)
    if let sentence = compiled.quantization { try observe(.note("\(output): \(sentence)")) }
    let isKept = checkpoint.record?.isKept ?? (options.checkpoint != nil)
    if !isKept { checkpoint.remove() }
    var report = trained.report
    report.seconds = (ContinuousClock.now - start) / .seconds(1)
    report.peakBytes = try ResidentMemory.peak()
    return report
  }

  /// The results of training after the trainer and the data have been released.
  private struct Trained {
    /// That of the network that was trained at last.
    var plan: RunPlan
    var network: Graph
    var loss: Loss
    var classes: [String]
    /// The training items, by their indices in the data set.
    var places: [Int]
    var draft: ReportDraft
    var report: Report
  }

  /// Trains. All its memory is released before the tuned network is compiled.
  private mutating func train(
    _ plan: RunPlan, to output: String, _ checkpoint: Checkpoint, _ records: RunRecords,
    observe: (Event) throws -> Void
  ) throws -> Trained {
    let peakBefore = try ResidentMemory.peak()
    let plan = try plan.resumed(from: checkpoint)
    var ready = try prepare(plan, observe: observe)
    if !plan.options.resumes { checkpoint.removeState() }
    var run = try TrainingRun(
      options: ready.stepOptions(plan.options), plan: ready.plan, trainer: ready.trainer,
      data: ready.data, items: ready.items, validation: ready.validation,
      classCount: ready.plan.outputWidth, feed: ready.feed, checkpoint: checkpoint,
      records: records, pruning: plan.pruning)
    func tell(_ event: Event) throws {
      if case .finished = event, plan.sampleSize == nil { Self.tellHowToGoOn(from: checkpoint) }
      try observe(event)
    }
    let final = try prune(plan, &run, &ready, observe: tell)
    try run.perform(observe: tell)
    let peakAfter = try ResidentMemory.peak()
    measurements.trainingPeak =
      peakAfter > peakBefore ? peakAfter : try ResidentMemory.now()
    measurements.pictureBytes = ready.views?.meanPictureBytes ?? 0
    try run.restoreBest()
    // The network is a copy of the weights.
    let network = try ready.plan.network(trainedBy: ready.trainer)
    let pruned = try final.pruning?.record(of: network)
    let draft = try draftReport(on: run, ready, final, pruned, to: output)
    try ready.trainer.releaseActivations()
    return Trained(
      plan: final, network: network,
      loss: ready.plan.specification.loss, classes: ready.classes,
      places: ready.items.map { ready.data.places[$0] }, draft: draft,
      report: Report(
        epochs: run.history, kept: run.bestEpoch, trainingItems: ready.items.count,
        validationItems: ready.validation?.items.count ?? 0,
        trainedParameters: ready.plan.trainedParameterCount, pruning: pruned, seconds: 0,
        peakBytes: 0))
  }
}
