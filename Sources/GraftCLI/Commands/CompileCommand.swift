// graft compile: compiles an ONNX file, or the graph of a bundle, to a bundle.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct CompileCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "compile",
    abstract: "Compile a pretrained network to a bundle that runs without Graft.",
    discussion: """
      The C compiler is the clang on PATH, or the one at the path in GRAFT_CLANG; version 14 or later.
      """)

  @Argument(
    help: "An .onnx file, or a bundle to recompile from its graph.", completion: .file())
  var model: String

  @Option(
    name: [.short, .long], help: "The bundle to write.", completion: .directory)
  var output: String

  @Option(
    help:
      "The preprocessing of images, stored in the bundle: a JSON file, imagenet, cifar10 or none. (default: none, or that of the bundle)",
    completion: .file(extensions: ["json"]))
  var preprocess: String?

  @Option(
    help:
      "The class names: a text file with one name per line, or a JSON file. (default: none, or those of the bundle)",
    completion: .file())
  var labels: String?

  @OptionGroup var shapes: InputShapeOption
  @OptionGroup var target: TargetOption
  @OptionGroup var training: TrainableOption

  @Option(
    help: ArgumentHelp(
      "How the schedules of convolutions are chosen: by the cost model (off), or by timing the best candidates "
        + "(quick) or all candidates (full) in the network on this machine.",
      discussion: "Measurements are cached in $XDG_CACHE_HOME/graft."))
  var tune = Tuning.quick

  @OptionGroup var precision: PrecisionOption

  @Flag(
    help:
      "Minimize memory rather than time: no convolution uses transformed weights larger than the original ones."
  )
  var compact = false

  @Flag(help: "Print what each pass changed, and what it left unchanged and why.")
  var explain = false

  @Flag(help: "Print the time of each phase of the compiler.")
  var timings = false

  func validate() throws {
    if training.trainable != nil, try shapes.parsed().count > 1 {
      throw ValidationError(
        "--trainable needs one set of input shapes: give --input-shape once for each input")
    }
    if training.trainable != nil, let precision = precision.precision, precision != .fixed(.float32)
    {
      throw ValidationError(
        "--trainable is not available with --precision "
          + (precision.precision?.rawValue ?? "auto"))
    }
    try precision.check(for: model)
    guard let preprocess, !Compiler.preprocessingNames.contains(preprocess),
      !preprocess.contains(where: { "/.".contains($0) }),
      !FileManager.default.fileExists(atPath: preprocess)
    else { return }
    throw ValidationError(
      "--preprocess must be one of " + Compiler.preprocessingNames.joined(separator: ", ")
        + ", or the path of a JSON file, found '\(preprocess.escapedForDisplay)'")
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("MODEL", model)
    if let preprocess, !Compiler.preprocessingNames.contains(preprocess) {
      uses.read("--preprocess", preprocess)
    }
    uses.read("--labels", labels)
    uses.read("--calibrate", precision.calibrate)
    uses.read("--data", precision.data)
    uses.write("-o", output, .bundle)
    uses.write("of -o's lock", PathLock.path(for: output), .file)
    if tune != .off {
      uses.write("of the tuning cache", Tuning.cache.folder, .cache(Tuning.cache.names))
    }
    return uses
  }

  func run() throws {
    var options = Compiler.Options()
    options.preprocessing = preprocess
    let names = try labels.map(Labels.read(from:))
    Console.warn(names?.warnings ?? [])
    options.labels = names?.names
    options.inputShapes = try shapes.parsed()
    options.precision = precision.precision?.precision
    options.target = try target.target(for: precision.effective(for: model))
    options.narrowTarget = try target.target(for: .int8)
    options.isCompact = compact
    options.quantization = precision.quantization
    options.accuracy = precision.accuracy
    options.tuning = tune
    options.training = try training.parsed()
    options.progress = { ProgressLine.show($0) }
    let compiler = Compiler(options)
    let report =
      try precision.precision == .auto
      ? compiler.compileFastest(model, to: output) : compiler.compile(model, to: output)
    ProgressLine.clear()
    Console.warn(report.warnings)
    for line in report.accuracy?.lines ?? [] { try Console.result(line) }
    for line in report.choice?.lines ?? [] { try Console.result(line) }
    if explain { try Console.result(report.explanation) }
    if timings { try Console.result(report.timings) }
    if let training = report.training { Console.note(training) }
    if let quantization = report.quantization { Console.note("\(output): \(quantization)") }
    tell(report)
  }

  private func tell(_ report: CompilationReport) {
    let seconds = "\(report.seconds.formatted(digits: 1)) s"
    let weights = "weights \(report.packedBytes.asBytes)"
    if report.programs.count > 1 {
      Console.note(
        "\(output): \(report.programs.count) programs for \(report.target), \(weights), \(seconds)")
    }
    for program in report.programs {
      let isOnly = report.programs.count == 1
      if let tuning = program.tuning {
        Console.note((isOnly ? "" : "  \(program.inputShapes): ") + tuning.summary)
      }
      let memory =
        "arena \(program.arenaBytes.asBytes) per image, "
        + "scratch \(program.scratchBytesPerThread.asBytes) per thread"
      Console.note(
        isOnly
          ? "\(output): \(program.nodes) kernels for \(report.target), \(weights), \(memory), \(seconds)"
          : "  \(program.inputShapes): \(program.nodes) kernels, \(memory)")
      guard compact else { continue }
      Console.note(
        "compact: the convolutions are estimated to take "
          + "\(program.estimatedSlowdown.formatted(digits: 2)) times as long as with the fastest schedules"
      )
    }
  }
}

extension Tuning: ExpressibleByArgument {}
