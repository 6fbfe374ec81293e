// graft finetune: trains a bundle on data and writes a tuned bundle.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics
import GraftTraining

struct FinetuneCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "finetune",
    abstract:
      "Train a new head, and the layers that you unfreeze, on your own data.",
    discussion: """
      The frozen layers keep their compiled code, and their outputs are cached. The input bundle is never \
      modified. Running a bundle executes its author's code.
      """)

  @Argument(
    help: "The bundle to start from; optional with --resume.", completion: .directory)
  var bundle: String?

  @Option(
    name: .customShort("o"),
    help: ArgumentHelp(
      "The bundle to write; optional with --resume.", valueName: "bundle"),
    completion: .directory)
  var output: String?

  @Flag(
    help:
      "Write no bundle; print what would train, and the operations, cache, memory and time of the run."
  )
  var plan = false

  @Flag(
    help: ArgumentHelp(
      "Run a learning rate range test instead of training: print the curve and a suggestion, and write no "
        + "bundle. With -o OUT the curve is written to OUT.find-lr.svg."))
  var findLr = false

  @Flag(help: "Print one JSON object at the end.")
  var json = false

  @OptionGroup(title: DataSection.section.rawValue)
  var dataOptions: DeclaredOptions<DataSection>
  @OptionGroup(title: HeadSection.section.rawValue)
  var headOptions: DeclaredOptions<HeadSection>
  @OptionGroup(title: OptimizationSection.section.rawValue)
  var optimizationOptions: DeclaredOptions<OptimizationSection>
  @OptionGroup(title: ScheduleSection.section.rawValue)
  var scheduleOptions: DeclaredOptions<ScheduleSection>
  @OptionGroup(title: RegularizationSection.section.rawValue)
  var regularizationOptions: DeclaredOptions<RegularizationSection>
  @OptionGroup(title: DistillationSection.section.rawValue)
  var distillationOptions: DeclaredOptions<DistillationSection>
  @OptionGroup(title: RunSection.section.rawValue)
  var runOptions: DeclaredOptions<RunSection>

  /// The given values by option name.
  private var given: [String: String] {
    [
      dataOptions.given, headOptions.given, optimizationOptions.given, scheduleOptions.given,
      regularizationOptions.given, distillationOptions.given, runOptions.given,
    ].reduce(into: [:]) { all, own in all.merge(own) { first, _ in first } }
  }

  func validate() throws {
    if plan, findLr {
      throw ValidationError(
        "--plan has no effect: --find-lr neither trains nor writes a bundle")
    }
    let given = given
    let unused = ["metrics", "tensorboard", "report", "checkpoint", "overwrite"]
    for name in unused + (findLr ? ["early-stop"] : []) where plan || findLr {
      guard given[name] != nil else { continue }
      throw ValidationError(
        "--\(name) has no effect: --\(plan ? "plan" : "find-lr") neither completes an epoch nor "
          + "writes a bundle")
    }
    if given["resume"] != nil {
      try asUsage { try FineTuningOption.check(givenWithResume: given) }
    } else {
      guard bundle != nil else { throw ValidationError("Missing expected argument '<bundle>'") }
      guard given["data"] != nil else {
        throw ValidationError("Missing expected argument '--data <folder>'")
      }
      guard output != nil || findLr || plan else {
        throw ValidationError(
          "Missing expected argument '-o <bundle>'"
            + (given["output"] == nil ? "" : "; --output chooses one of the network's outputs"))
      }
      _ = try request()
    }
  }

  /// The bundles and options of the run; with --resume, the given options override those of the checkpoint.
  private struct Request {
    var bundle: String
    var output: String?
    var options: FineTuner.Options
  }

  private func request() throws -> Request {
    let given = given
    guard let folder = given["resume"] else {
      return Request(
        bundle: bundle ?? "", output: output,
        options: try asUsage {
          try FineTuningOption.options(from: given, over: FineTuner.Options(data: ""))
        })
    }
    let record = try CheckpointRecord(of: folder)
    let recorded = try record.recordedOptions(in: folder)
    return Request(
      bundle: bundle ?? record.bundle, output: output ?? record.output,
      options: try asUsage { try FineTuningOption.options(from: given, over: recorded) })
  }

  func pathUses() throws -> PathUses {
    let request = try request()
    var uses = request.options.pathUses(
      bundle: request.bundle, output: findLr || plan ? nil : request.output)
    if findLr {
      uses.write("-o", output, .bundle)
      try uses.writeText("-o", curveFile)
    }
    return uses
  }

  func run() throws {
    let request = try request()
    var tuner = try asUsage { try FineTuner(request.bundle, request.options) }
    if findLr { return try findLearningRate(&tuner) }
    if plan { return try showPlan(&tuner) }
    guard let output = request.output else { return }
    let progress = EpochTable()
    let report = try tuner.run(to: output) { try progress.show($0) }
    ProgressLine.clear()
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

  /// The file of the curve of `--find-lr`; nil without `-o`.
  private var curveFile: String? { output.map(FineTuner.Options.curveFile) }

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
    if let curveFile {
      try found.writeChart(to: curveFile)
      Console.note("\(curveFile): the curve")
    }
    if json { return try Console.json(found) }
    let mark = found.points.lastIndex { $0.learningRate <= found.suggestion } ?? 0
    let ends = [found.points.first, found.points.last].map {
      String(format: "%.2g", $0?.learningRate ?? 0)
    }
    try Console.result("smoothed loss at learning rates from \(ends[0]) to \(ends[1])")
    for line in TextChart(values: found.points.map(\.smoothedLoss)).lines(marking: mark) {
      try Console.result(line)
    }
    try Console.result(
      String(
        format:
          "suggestion: --lr %.2g (steepest descent at %.2g, a tenth of the rate at the minimum is %.2g)",
        found.suggestion, found.steepest, found.minimumTenth))
  }
}

/// A table row for every epoch, and a progress line, both on standard error.
final class EpochTable {
  private var hasHeader = false

  func show(_ event: FineTuner.Event) throws {
    switch event {
    case .doing(let text): ProgressLine.show(text)
    case .note(let text): Console.note(text)
    case .warning(let warning): Console.warn([warning])
    case .step(let progress): ProgressLine.show(line(progress), isFrequent: true)
    case .finished(let epoch):
      if !hasHeader {
        let more = epoch.validationMeanIoU == nil ? "" : " val mIoU %"
        Console.note("epoch      loss   acc %  val loss  val acc %\(more)        lr  images/s")
        hasHeader = true
      }
      Console.note(
        [
          column("\(epoch.epoch)", 5), column(epoch.loss.formatted(digits: 4), 9),
          column(percent(epoch.accuracy), 7),
          column(epoch.validationLoss.map { $0.formatted(digits: 4) } ?? "–", 9),
          column(percent(epoch.validationAccuracy), 10)
            + (epoch.validationMeanIoU.map { column(percent($0), 11) } ?? ""),
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
