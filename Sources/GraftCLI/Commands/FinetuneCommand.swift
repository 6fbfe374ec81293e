// graft finetune: a bundle and a folder of data to a tuned bundle.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct FinetuneCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "finetune",
    abstract: "Train a new head, and as much of the tail as you unfreeze, on your own data.",
    discussion: """
      DIR has a folder of pictures for each class, or CIFAR-10's binary batches, or x.npy and y.npy. \
      The frozen part runs once, as the compiled code it already is. The bundle that is read is never \
      changed. Running a bundle runs its author's code.
      """)

  @Argument(help: "The bundle to start from.", completion: .directory)
  var bundle: String

  @Option(help: "The data to learn from.", completion: .directory)
  var data: String

  @Option(
    name: .customShort("o"), help: ArgumentHelp("The bundle to write.", valueName: "bundle"),
    completion: .directory)
  var output: String?

  @Option(
    name: .customLong("output"), help: "Of several outputs the one with the classes, by its name.")
  var classOutput: String?

  @Option(help: "Validation data of their own.", completion: .directory)
  var val: String?

  @Option(help: "The share of the data held out for validation; 0 holds nothing out.")
  var valSplit = 0.2

  @Option(help: "The new head: linear, mlp:K, or keep.")
  var head = "linear"

  @Option(help: "What trains beside the head: none, last:N, a scope such as layer4, or all.")
  var unfreeze = "none"

  @Option(
    help: "BatchNorms of what trains: frozen or train.", completion: .list(["frozen", "train"]))
  var bn = "frozen"

  @Option(help: "Times through the data.")
  var epochs = 10

  @Option(help: "Images in a step.")
  var batchSize = 32

  @Option(help: "sgd, adam or adamw.", completion: .list(["sgd", "adam", "adamw"]))
  var optimizer = "sgd"

  @Option(help: "The learning rate.")
  var lr = 0.01

  @Option(help: "The learning rate of the head, where it is another.")
  var headLr: Double?

  @Option(help: "The factor on the learning rate from each layer to the one before it.")
  var layerDecay = 1.0

  @Flag(
    help: ArgumentHelp(
      "Try learning rates instead of training: a curve and a suggestion, no bundle. With -o OUT the "
        + "curve is drawn into OUT.find-lr.svg."))
  var findLr = false

  @Option(help: "Momentum of sgd.")
  var momentum = 0.9

  @Flag(help: "Nesterov's momentum.")
  var nesterov = false

  @Option(help: "Weight decay, as PyTorch defines it for the optimizer.")
  var weightDecay = 0.0

  @Option(
    help: "How the rate moves: constant, step, cosine or onecycle.",
    completion: .list(LearningRateSchedule.names))
  var schedule = "cosine"

  @Option(help: "Epochs over which the rate climbs from 0 first.")
  var warmup = 0.0

  @Option(help: "Epochs between the drops of the step schedule.")
  var stepSize = 10

  @Option(help: "The factor of each drop.")
  var gamma = 0.1

  @Option(
    help: "cross-entropy (binary where the network ends in a sigmoid) or mse.",
    completion: .list(["cross-entropy", "mse"]))
  var loss = "cross-entropy"

  @Option(help: "The share of a target that is spread over all classes.")
  var labelSmoothing = 0.0

  @Option(help: "none or balanced.", completion: .list(["none", "balanced"]))
  var classWeights = "none"

  @Option(help: "The largest norm of all gradients together.")
  var clipNorm: Double?

  @Option(help: "Batches whose gradients add up to one update.")
  var accumulate = 1

  @Option(
    help:
      "Random changes of training pictures: none, or some of resized-crop, crop, flip, jitter, erase joined by -."
  )
  var augment = "none"

  @Option(help: "Mix pictures of a batch, with this parameter of the beta distribution.")
  var mixup: Double?

  @Option(help: "Put parts of pictures into others, with this parameter.")
  var cutmix: Double?

  @Option(help: "Make so many random views of each picture and keep them past the frozen trunk.")
  var cacheViews: Int?

  @Option(help: "A bundle whose answers are learnt too.", completion: .directory)
  var teacher: String?

  @Option(help: "The temperature at which the teacher is listened to.")
  var temperature = 4.0

  @Option(help: "The teacher's share of the loss.")
  var alpha = 0.7

  @Option(help: "Stop after so many epochs without a better validation result.")
  var earlyStop: Int?

  @Option(help: "Decides every random choice.")
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp(
      "The most memory to use, in bytes or with K, M or G: values are made again, features read from a file.",
      valueName: "bytes"))
  var memoryLimit: ByteCount?

  @Option(help: "Keep the state after every epoch here, also when done.", completion: .directory)
  var checkpoint: String?

  @Option(help: "Go on from the state in this folder.", completion: .directory)
  var resume: String?

  @Flag(help: "Remove the checkpoint of an earlier run that is in the way.")
  var overwrite = false

  @Option(
    help: "Write a JSON line for every epoch. (default: metrics.jsonl in the bundle)",
    completion: .file())
  var metrics: String?

  @Option(
    help: "Write an event file for TensorBoard into this folder. (default: into the bundle)",
    completion: .directory)
  var tensorboard: String?

  @Option(
    help: "Write the report here. (default: report.html in the bundle)",
    completion: .file(extensions: ["html"]))
  var report: String?

  @Flag(help: "Print one JSON object at the end.")
  var json = false

  @OptionGroup var threads: ThreadsOption

  @Flag(
    help: "Write no bundle: tell what would train, the work, cache, memory and time of the run.")
  var plan = false

  func validate() throws {
    guard output != nil || findLr || plan else {
      throw ValidationError(
        "Missing expected argument '-o <bundle>'"
          + (classOutput == nil ? "" : "; --output chooses one of the network's outputs"))
    }
    try refuseIdleOptions()
    func require<Choice: RawRepresentable & CaseIterable>(
      _ option: String, _ text: String, _ type: Choice.Type
    ) throws where Choice.RawValue == String {
      guard type.init(rawValue: text) != nil else {
        let words = type.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValidationError("\(option) takes no '\(text)'; it is one of \(words)")
      }
    }
    try require("--bn", bn, FineTuner.Normalization.self)
    try require("--optimizer", optimizer, FineTuner.OptimizerName.self)
    try require("--loss", loss, FineTuner.Loss.self)
    try require("--class-weights", classWeights, FineTuner.ClassWeights.self)
  }

  /// An option that changes nothing beside the others is a mistake worth telling.
  private func refuseIdleOptions() throws {
    let idle: [(isGiven: Bool, option: String, reason: String?)] = [
      (valSplit != 0.2, "--val-split", val == nil ? nil : "--val has the validation data"),
      (
        earlyStop != nil, "--early-stop",
        val == nil && valSplit == 0 ? "with --val-split 0 there is no validation result" : nil
      ),
      (momentum != 0.9, "--momentum", optimizer == "sgd" ? nil : "it belongs to --optimizer sgd"),
      (gamma != 0.1, "--gamma", schedule == "step" ? nil : "it belongs to --schedule step"),
      (stepSize != 10, "--step-size", schedule == "step" ? nil : "it belongs to --schedule step"),
      (temperature != 4, "--temperature", teacher == nil ? "there is no --teacher" : nil),
      (alpha != 0.7, "--alpha", teacher == nil ? "there is no --teacher" : nil),
      (plan, "--plan", findLr ? "--find-lr neither trains nor writes a bundle" : nil),
      (overwrite, "--overwrite", resume == nil ? nil : "--resume goes on from the checkpoint"),
      (checkpoint != nil, "--checkpoint", resume == nil ? nil : "--resume names the folder"),
    ]
    for (isGiven, option, reason) in idle where isGiven {
      if let reason { throw ValidationError("\(option) would do nothing: \(reason)") }
    }
  }

  /// Runs `body`; what is wrong with an option by itself, whatever the files, is wrong usage.
  private func checkingUsage<Result>(_ body: () throws -> Result) throws -> Result {
    do { return try body() } catch let error as GraftError
      where error.kind == .invalidArgument && error.location.file == nil
    { throw ValidationError(error.description) }
  }

  func pathUses() throws -> PathUses {
    var uses = try checkingUsage(options).pathUses(
      bundle: bundle, output: findLr || plan ? nil : output)
    if findLr { uses.write("-o", output.map { $0 + ".find-lr.svg" }, .file) }
    return uses
  }

  func run() throws {
    var tuner = try checkingUsage { try FineTuner(bundle, options()) }
    if findLr { return try findLearningRate(&tuner) }
    if plan { return try showPlan(&tuner) }
    guard let output else { return }
    let progress = EpochTable()
    let report = try tuner.run(to: output) { try progress.show($0) }
    ProgressLine.clear()
    Console.warn(tuner.warnings)
    if json { return try Console.json(report) }
    let kept = report.epochs.first { $0.epoch == report.kept }
    let accuracy = kept?.validationAccuracy.map {
      ", validation accuracy \((100 * $0).formatted(digits: 2)) %"
    }
    Console.note(
      "\(output): epoch \(report.kept) of \(report.epochs.count)\(accuracy ?? ""), "
        + "\(report.trainedParameters) parameters trained on \(report.trainingItems) items, "
        + "\(report.seconds.formatted(digits: 1)) s")
  }

  private func showPlan(_ tuner: inout FineTuner) throws {
    let progress = EpochTable()
    let forecast = try tuner.forecast { try progress.show($0) }
    ProgressLine.clear()
    if json { return try Console.json(forecast) }
    for line in forecast.lines { try Console.result(line) }
  }

  private func findLearningRate(_ tuner: inout FineTuner) throws {
    let progress = EpochTable()
    let found = try tuner.findLearningRate { try progress.show($0) }
    ProgressLine.clear()
    Console.warn(tuner.warnings)
    if let output {
      try found.writeChart(to: output + ".find-lr.svg")
      Console.note("\(output).find-lr.svg: the curve")
    }
    if json { return try Console.json(found) }
    let mark = found.points.lastIndex { $0.learningRate <= found.suggestion } ?? 0
    let ends = [found.points.first, found.points.last].map {
      String(format: "%.2g", $0?.learningRate ?? 0)
    }
    try Console.result("the loss, smoothed, at learning rates from \(ends[0]) to \(ends[1])")
    for line in TextChart(values: found.points.map(\.smoothedLoss)).lines(marking: mark) {
      try Console.result(line)
    }
    try Console.result(
      String(
        format: "suggestion: --lr %.2g (steepest fall at %.2g, a tenth of the lowest point's %.2g)",
        found.suggestion, found.steepest, found.minimumTenth))
  }

  private func options() throws -> FineTuner.Options {
    var options = FineTuner.Options(data: data)
    options.validationData = val
    options.validationSplit = valSplit
    options.output = classOutput
    options.head = try FineTuner.Head(head)
    options.unfreeze = try FineTuner.Unfreeze(unfreeze)
    options.normalization = .init(rawValue: bn) ?? .frozen
    options.epochs = epochs
    options.batchSize = batchSize
    options.optimizer = .init(rawValue: optimizer) ?? .sgd
    options.learningRate = lr
    options.headLearningRate = headLr
    options.layerDecay = layerDecay
    options.momentum = momentum
    options.isNesterov = nesterov
    options.weightDecay = weightDecay
    options.schedule = try LearningRateSchedule(
      named: schedule, stepSize: stepSize, gamma: gamma, warmup: warmup)
    options.loss = .init(rawValue: loss) ?? .crossEntropy
    options.labelSmoothing = labelSmoothing
    options.classWeights = .init(rawValue: classWeights) ?? .none
    options.clipNorm = clipNorm
    options.accumulate = accumulate
    options.augmentation = try FineTuner.Augmentation(augment)
    options.mixing = FineTuner.BatchMixing(mixup: mixup, cutmix: cutmix)
    options.cacheViews = cacheViews
    options.teacher = teacher.map {
      FineTuner.Teacher(bundle: $0, temperature: temperature, alpha: alpha)
    }
    options.earlyStop = earlyStop
    options.seed = seed
    options.memoryLimit = memoryLimit?.bytes
    options.checkpoint = resume ?? checkpoint
    options.resumes = resume != nil
    options.overwrites = overwrite
    options.metrics = metrics
    options.tensorboard = tensorboard
    options.report = report
    options.threads = threads.count
    return options
  }
}

/// A line for every epoch on standard output, and one that moves on standard error.
final class EpochTable {
  private var hasHeader = false

  func show(_ event: FineTuner.Event) throws {
    switch event {
    case .doing(let text): ProgressLine.show(text)
    case .note(let text): Console.note(text)
    case .step(let progress): ProgressLine.show(line(progress), isFrequent: true)
    case .finished(let epoch):
      if !hasHeader {
        Console.note("epoch      loss   acc %  val loss  val acc %        lr  images/s")
        hasHeader = true
      }
      Console.note(
        [
          column("\(epoch.epoch)", 5), column(epoch.loss.formatted(digits: 4), 9),
          column(percent(epoch.accuracy), 7),
          column(epoch.validationLoss.map { $0.formatted(digits: 4) } ?? "–", 9),
          column(percent(epoch.validationAccuracy), 10),
          column(String(format: "%.3g", epoch.learningRate), 9),
          column(epoch.imagesPerSecond.formatted(digits: 0), 9),
        ].joined(separator: " "))
    }
  }

  private func line(_ progress: FineTuner.Progress) -> String {
    let left = Int(min(progress.secondsLeft, 1e9).rounded(.up))
    let time =
      left < 3600
      ? String(format: "%d:%02d", left / 60, left % 60)
      : String(format: "%d:%02d:%02d", left / 3600, left / 60 % 60, left % 60)
    return [
      "epoch \(progress.epoch)/\(progress.epochs)", "\(progress.done) of \(progress.count)",
      "loss \(progress.loss.formatted(digits: 4))",
      progress.accuracy.map { "accuracy \((100 * $0).formatted(digits: 1)) %" },
      "\(progress.imagesPerSecond.formatted(digits: 0)) images/s", "\(time) left",
    ].compactMap { $0 }.joined(separator: "  ")
  }

  private func percent(_ share: Double?) -> String {
    share.map { (100 * $0).formatted(digits: 2) } ?? "–"
  }

  private func column(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }
}
