// A fine-tuning run as a whole: a bundle and a folder of data in, a tuned bundle out. Each step is a file of
// its own; this one is their order.

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
/// The original is never modified. Running a bundle runs its author's code.
public struct FineTuner {
  /// What one epoch came to.
  public struct Epoch: Codable, Sendable, Equatable {
    /// From 1.
    public var epoch: Int
    /// Mean loss of the training items, as they were met.
    public var loss: Double
    /// The share of them that were right; absent for a regression.
    public var accuracy: Double?
    public var validationLoss: Double?
    public var validationAccuracy: Double?
    /// The first group's, at the end of the epoch.
    public var learningRate: Double
    public var seconds: Double
    public var imagesPerSecond: Double
    /// When it ended, in seconds since 1970.
    public var time: Double

    enum CodingKeys: String, CodingKey {
      case epoch, loss, accuracy, seconds, time
      case validationLoss = "val_loss"
      case validationAccuracy = "val_accuracy"
      case learningRate = "lr"
      case imagesPerSecond = "images_per_second"
    }
  }

  /// What a run did.
  public struct Report: Codable, Sendable {
    public var epochs: [Epoch]
    /// The epoch whose weights are in the bundle.
    public var kept: Int
    public var trainingItems: Int
    public var validationItems: Int
    public var trainedParameters: Int
    public var seconds: Double
    /// The most bytes that the process had resident, up to now.
    public var peakBytes: Int

    enum CodingKeys: String, CodingKey {
      case epochs, kept, seconds
      case peakBytes = "peak_bytes"
      case trainingItems = "training_items"
      case validationItems = "validation_items"
      case trainedParameters = "trained_parameters"
    }
  }

  /// How far a run has come.
  public struct Progress: Sendable {
    /// From 1.
    public var epoch: Int
    public var epochs: Int
    /// Items of this epoch that were learned from, and how many there are.
    public var done: Int
    public var count: Int
    /// The mean over these items, as they were met.
    public var loss: Double
    /// Absent for a regression.
    public var accuracy: Double?
    public var imagesPerSecond: Double
    /// Until the end of the run, as fast as it has been so far.
    public var secondsLeft: Double
  }

  /// What happens while it runs.
  public enum Event: Sendable {
    /// Work outside of epochs, in words.
    case doing(String)
    case step(Progress)
    case finished(Epoch)
    case note(String)
    /// What the report tells too, such as files that are left out of the data.
    case warning(Warning)
  }

  public let options: Options
  public internal(set) var warnings: [Warning] = []
  let bundle: ModelBundle
  let path: String
  /// What may be kept in memory.
  var room = MemoryRoom()
  /// What the run took.
  var measurements = Measurements()

  /// What a run took, up to the end of its last epoch.
  struct Measurements {
    /// Bytes of the trainer's activations, scratch and state.
    var sessionBytes = 0
    /// Part of it: the arena of a training step.
    var arenaBytes = 0
    /// What runs again in the backward pass of one image.
    var recomputation = RematerializationReport()
    /// The most bytes that were resident while it trained.
    var trainingPeak = 0
    /// The mean size of the decoded pictures that random views are made from; 0 where there are none.
    var pictureBytes = 0
    /// Items that were read, how many of them were kept at the freeze line, and the seconds it took.
    var itemsRead = 0
    var cachedRows = 0
    var seconds = 0.0
  }

  /// - Throws: ``GraftError`` where the bundle is damaged or an option makes no sense.
  public init(_ bundle: String, _ options: Options) throws {
    try options.validate()
    self.options = options
    self.bundle = try ModelBundle(opening: bundle)
    path = bundle
  }

  /// Trains, and writes the tuned bundle to `output`, whole or not at all.
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
      if options.resumes { tellHowToGoOn(from: checkpoint) }
      try observe(.doing("reading \(path.escapedForDisplay)"))
      let plan = try plan(observe: observe)
      checkpoint.record = try CheckpointRecord(plan, output: output)
      if let recorded {
        if let own = checkpoint.record { try recorded.check(own, in: checkpoint.folder) }
        // The folder stays where the run that began it named it.
        checkpoint.record?.options["checkpoint"] = recorded.options["checkpoint"]
      }
      let records = try RunRecords(options)
      try chooseRoom(plan, observe: observe)
      return try execute(
        plan, to: output, checkpoint: checkpoint, records: records, since: start, observe: observe)
    } catch var error as GraftError {
      // What tells of a state goes with it.
      if !checkpoint.exists { checkpoint.removeState() }
      // Fails, and does nothing, where a state is in it.
      if isNew { rmdir(checkpoint.folder) }
      if checkpoint.exists, !(error.advice ?? "").contains("--resume") {
        error.advice =
          (error.advice.map { $0 + " " } ?? "")
          + "The state is saved; continue with: " + checkpoint.resumeCommand
      }
      throw error
    }
  }

  /// Looks at everything that a run reads, and tells what of it is left out.
  mutating func plan(observe: (Event) throws -> Void) throws -> RunPlan {
    let plan = try RunPlan(bundle, at: path, options)
    try tell(plan.warnings, observe: observe)
    return plan
  }

  /// What is said at Ctrl-C.
  private func tellHowToGoOn(from checkpoint: Checkpoint) {
    guard checkpoint.exists else { return }
    TemporaryPaths.sayWhenInterrupted(
      "graft: interrupted; the state is saved, continue with:\n  " + checkpoint.resumeCommand)
  }

  /// Trains as planned, and writes the tuned bundle.
  mutating func execute(
    _ plan: RunPlan, to output: String, checkpoint: Checkpoint, records: RunRecords,
    since start: ContinuousClock.Instant, observe: (Event) throws -> Void
  ) throws -> Report {
    let trained = try train(plan, to: output, checkpoint, records, observe: observe)
    let options = plan.options
    try observe(.doing("compiling the tuned network"))
    var compilerOptions = Compiler.Options()
    compilerOptions.target = options.target
    compilerOptions.isCompact = bundle.manifest.isCompact ?? false
    try Compiler(compilerOptions).compile(
      SourceModel(
        graph: trained.network, preprocessing: bundle.manifest.preprocessing,
        labels: trained.classes.isEmpty ? bundle.manifest.labels : trained.classes,
        provenance: bundle.manifest.provenance, warnings: [],
        fineTuning: Manifest.FineTuning(
          weightsSHA256: bundle.manifest.files[BundleLayout.weights]?.sha256 ?? "",
          unfreeze: "\(options.unfreeze)", head: "\(options.head)",
          bn: options.normalization.rawValue, optimizer: options.optimizer.rawValue,
          loss: trained.loss.rawValue, seed: options.seed, epoch: trained.report.kept)),
      to: output, keeping: [path], reusing: bundle
    ) { folder in
      try observe(.doing("writing the report"))
      try records.finish(
        trained.report.epochs, report: trained.draft.html(network: trained.network, in: folder),
        into: folder)
    }
    let isKept = checkpoint.record?.isKept ?? (options.checkpoint != nil)
    if !isKept { checkpoint.remove() }
    var report = trained.report
    report.seconds = (ContinuousClock.now - start) / .seconds(1)
    report.peakBytes = try ResidentMemory.peak()
    return report
  }

  /// What is left of a run when its trainer and its data are gone.
  private struct Trained {
    var network: Graph
    var loss: Loss
    var classes: [String]
    var draft: ReportDraft
    var report: Report
  }

  /// The run itself. All that it holds in memory is given back before anything else is compiled.
  private mutating func train(
    _ plan: RunPlan, to output: String, _ checkpoint: Checkpoint, _ records: RunRecords,
    observe: (Event) throws -> Void
  ) throws -> Trained {
    let peakBefore = try ResidentMemory.peak()
    let ready = try prepare(plan, observe: observe)
    if !plan.options.resumes { checkpoint.removeState() }
    var run = try TrainingRun(
      options: ready.stepOptions(plan.options), plan: ready.plan, trainer: ready.trainer,
      data: ready.data, items: ready.items, validation: ready.validation,
      classCount: ready.plan.outputWidth, feed: ready.feed, checkpoint: checkpoint,
      records: records)
    try run.perform {
      if case .finished = $0, plan.sampleSize == nil { tellHowToGoOn(from: checkpoint) }
      try observe($0)
    }
    let peakAfter = try ResidentMemory.peak()
    measurements.trainingPeak =
      peakAfter > peakBefore ? peakAfter : try ResidentMemory.now()
    measurements.pictureBytes = ready.views?.meanPictureBytes ?? 0
    try run.restoreBest()
    return Trained(
      network: try ready.plan.network(trainedBy: ready.trainer),
      loss: ready.plan.specification.loss, classes: ready.classes,
      draft: try draftReport(on: run, ready, plan, to: output),
      report: Report(
        epochs: run.history, kept: run.bestEpoch, trainingItems: ready.items.count,
        validationItems: ready.validation?.items.count ?? 0,
        trainedParameters: ready.plan.trainedParameterCount, seconds: 0, peakBytes: 0))
  }
}
