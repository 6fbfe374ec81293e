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
  public private(set) var warnings: [Warning] = []
  private let bundle: ModelBundle
  private let path: String

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
    let network = try PictureNetwork(bundle)
    let graph = try bundle.loadGraph()
    let (dataset, found) = try open(options.data, network)
    warnings += found
    let plan = try FineTuningPlan(
      graph, classes: classes(of: dataset, network), options: options)
    warnings += plan.warnings
    try observe(.note(plan.summary))

    let folder = try TemporaryFolder()
    try observe(.doing("compiling the training step"))
    try TrainingCompiler(target: options.target).compile(
      plan.training, groupNames: plan.specification.groupNames, into: folder.path)
    let library = try TrainingLibrary(
      path: ModelBundle.join(folder.path, BundleLayout.trainingLibrary))
    let trainer = try LoadedTrainer(
      library: library, bundle: folder.path, seed: options.seed, largestBatch: options.batchSize,
      threads: options.threads)

    let trunk = try Trunk(
      plan.parts, of: bundle, inputs: network.inputs, batchSize: options.batchSize,
      threads: options.threads, target: options.target)
    let reader = FeatureReader(
      network: network, trunk: trunk, batchSize: network.batchSize(options.batchSize),
      threads: options.threads,
      regressionWidth: options.loss == .meanSquaredError ? plan.outputWidth : nil)
    func read(_ dataset: any Dataset, _ warnings: inout [Warning]) throws -> TrainingData {
      let bytes = FeatureStore.byteCount(items: dataset.count, widths: trunk.widths)
      try observe(
        .note(
          "\(dataset.count) images, \(bytes.asBytes) at the freeze line; "
            + trunk.description))
      return try reader.read(dataset, warnings: &warnings) { done, all in
        try? observe(.doing("\(done) of \(all) images through the frozen trunk"))
      }
    }
    let data = try read(dataset, &warnings)
    var validation: (data: TrainingData, items: [Int])?
    var items = Array(0..<data.count)
    if let other = options.validationData {
      let (set, found) = try openValidation(other, network, like: dataset)
      warnings += found
      let read = try read(set, &warnings)
      validation = (read, Array(0..<read.count))
    } else if options.validationSplit > 0 {
      let split = Split(
        labels: data.labels, count: data.count, share: options.validationSplit, seed: options.seed)
      items = split.training
      if !split.validation.isEmpty { validation = (data, split.validation) }
    }
    guard options.batchSize <= items.count else {
      throw GraftError(
        .invalidArgument,
        "a batch of \(options.batchSize), but there are \(items.count) items to learn from",
        at: SourceLocation(file: options.data),
        advice: "Choose a smaller --batch-size.")
    }
    let teacher = try options.teacher.map { teacher in
      try TeacherLogits(
        teacher, of: dataset, names: data.names, classCount: plan.outputWidth,
        batchSize: options.batchSize, threads: options.threads
      ) { done, all in try? observe(.doing("\(done) of \(all) images through the teacher")) }
    }
    let checkpoint = Checkpoint(
      folder: options.checkpoint ?? output + ".checkpoint",
      run: runFingerprint(data: data, validation: validation?.data))
    if options.checkpoint != nil { try checkpoint.prepare() }
    var run = try TrainingRun(
      options: options, plan: plan, trainer: trainer, data: data, items: items,
      validation: validation, classCount: plan.outputWidth, teacher: teacher,
      checkpoint: checkpoint)
    try run.perform(observe: observe)

    try observe(.doing("compiling the tuned network"))
    let tuned = try plan.network(with: run.bestState, of: library.description)
    var compilerOptions = Compiler.Options()
    compilerOptions.target = options.target
    try Compiler(compilerOptions).compile(
      SourceModel(
        graph: tuned, preprocessing: bundle.manifest.preprocessing,
        labels: dataset.classes.isEmpty ? bundle.manifest.labels : dataset.classes,
        provenance: bundle.manifest.provenance, warnings: []), to: output, keeping: [path])
    if options.checkpoint == nil { checkpoint.remove() }
    return Report(
      epochs: run.history, kept: run.bestEpoch, trainingItems: items.count,
      validationItems: validation?.items.count ?? 0,
      trainedParameters: plan.trainedParameterCount,
      seconds: (clock.now - start) / .seconds(1))
  }

  /// What a run depends on: a checkpoint of anything else is refused.
  private func runFingerprint(data: TrainingData, validation: TrainingData?) -> String {
    var own = options
    // Neither where it writes nor on how many threads it runs changes a run; nor does what it reads its
    // data from, as long as the items are the same.
    (own.checkpoint, own.resumes, own.metrics, own.threads) = (nil, false, nil, 1)
    (own.data, own.validationData) = ("", own.validationData.map { _ in "" })
    let files = bundle.manifest.files.sorted { $0.key < $1.key }.map {
      "\($0.key) \($0.value.sha256)"
    }
    let names = data.names + (validation?.names ?? [])
    return Digest.sha256(Data("\(own)\n\(files)\n\(names)".utf8))
  }

  // MARK: Data

  private func open(
    _ path: String, _ network: PictureNetwork
  ) throws -> (dataset: any Dataset, warnings: [Warning]) {
    let keeps = options.head == .keep
    return try openDataset(
      at: path,
      for: DatasetRequest(
        inputs: network.inputs, output: options.loss == .meanSquaredError ? network.output : nil,
        labels: keeps ? bundle.manifest.labels : nil, classCount: keeps ? network.classCount : nil,
        part: .training))
  }

  private func openValidation(
    _ path: String, _ network: PictureNetwork, like dataset: any Dataset
  ) throws -> (dataset: any Dataset, warnings: [Warning]) {
    try openDataset(
      at: path,
      for: DatasetRequest(
        inputs: network.inputs, output: options.loss == .meanSquaredError ? network.output : nil,
        labels: dataset.classes.isEmpty ? nil : dataset.classes,
        classCount: dataset.classes.isEmpty ? nil : dataset.classes.count, part: .test))
  }

  /// The number of classes that the head is to tell apart.
  private func classes(of dataset: any Dataset, _ network: PictureNetwork) throws -> Int {
    if options.head == .keep || options.loss == .meanSquaredError { return network.classCount }
    var count = dataset.classes.count
    if count == 0 {
      count = (0..<dataset.count).reduce(0) { max($0, (dataset.label(of: $1) ?? -1) + 1) }
    }
    guard count >= 2 else {
      throw GraftError(
        .invalidData, "there is only one class to tell apart",
        at: SourceLocation(file: options.data),
        advice: "Give pictures of at least two classes, each in a folder of its own.")
    }
    return count
  }
}
