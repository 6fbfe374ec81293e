// A fine-tuning run as a whole: a bundle and a folder of data in, a tuned bundle out. Each step is a file of
// its own; this one is their order.

import Foundation
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
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
    /// Of the first group at the end of the epoch.
    public var learningRate: Double
    public var seconds: Double
    public var imagesPerSecond: Double

    enum CodingKeys: String, CodingKey {
      case epoch, loss, accuracy, seconds
      case validationLoss = "val_loss"
      case validationAccuracy = "val_accuracy"
      case learningRate = "lr"
      case imagesPerSecond = "images_per_second"
    }
  }

  /// What a run did.
  public struct Report: Encodable, Sendable {
    public var epochs: [Epoch]
    /// The epoch whose weights are in the bundle.
    public var kept: Int
    public var trainingItems: Int
    public var validationItems: Int
    public var trainedParameters: Int
    public var seconds: Double

    enum CodingKeys: String, CodingKey {
      case epochs, kept, seconds
      case trainingItems = "training_items"
      case validationItems = "validation_items"
      case trainedParameters = "trained_parameters"
    }
  }

  /// What happens while it runs.
  public enum Event: Sendable {
    /// Work outside of epochs, in words.
    case doing(String)
    case step(epoch: Int, done: Int, of: Int, loss: Double, imagesPerSecond: Double)
    case finished(Epoch)
    case note(String)
  }

  public let options: Options
  public internal(set) var warnings: [Warning] = []
  let bundle: ModelBundle
  let path: String

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
    let clock = ContinuousClock()
    let start = clock.now
    _ = try DirectoryReplacement(at: output, keeping: [path])
    try observe(.doing("reading \(path.escapedForDisplay)"))
    let ready = try prepare(observe: observe)
    let (plan, data) = (ready.plan, ready.data)
    let checkpoint = Checkpoint(
      folder: options.checkpoint ?? output + ".checkpoint",
      run: runFingerprint(data: data, validation: ready.validation?.data))
    if options.checkpoint != nil { try checkpoint.prepare() }
    var run = try TrainingRun(
      options: options, plan: plan, trainer: ready.trainer, data: data, items: ready.items,
      validation: ready.validation, classCount: plan.outputWidth, feed: ready.feed,
      checkpoint: checkpoint)
    try run.perform(observe: observe)

    try observe(.doing("compiling the tuned network"))
    let tuned = try plan.network(with: run.bestState, of: ready.trainer.description)
    var compilerOptions = Compiler.Options()
    compilerOptions.target = options.target
    try Compiler(compilerOptions).compile(
      SourceModel(
        graph: tuned, preprocessing: bundle.manifest.preprocessing,
        labels: ready.classes.isEmpty ? bundle.manifest.labels : ready.classes,
        provenance: bundle.manifest.provenance, warnings: []), to: output, keeping: [path])
    if options.checkpoint == nil { checkpoint.remove() }
    return Report(
      epochs: run.history, kept: run.bestEpoch, trainingItems: ready.items.count,
      validationItems: ready.validation?.items.count ?? 0,
      trainedParameters: plan.trainedParameterCount,
      seconds: (clock.now - start) / .seconds(1))
  }

  /// What a run depends on: a checkpoint of anything else is refused.
  private func runFingerprint(data: TrainingData, validation: TrainingData?) -> String {
    var own = options
    // Neither where it writes nor on how many threads it runs changes a run; nor does what it reads its
    // data from, as long as the items are the same.
    (own.checkpoint, own.resumes, own.metrics, own.threads) = (nil, false, nil, 1)
    // A run that diverged goes on from its last good state at another rate.
    (own.learningRate, own.headLearningRate) = (1, nil)
    (own.data, own.validationData) = ("", own.validationData.map { _ in "" })
    let files = bundle.manifest.files.sorted { $0.key < $1.key }.map {
      "\($0.key) \($0.value.sha256)"
    }
    let names = data.names + (validation?.names ?? [])
    return Digest.sha256(Data("\(own)\n\(files)\n\(names)".utf8))
  }
}
