// graft compile: from an ONNX file, or a bundle, to a bundle.

import ArgumentParser
import Foundation
import Graft
import GraftDiagnostics

struct CompileCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "compile",
    abstract: "Compile a pretrained network into a bundle that runs with no Graft installed.",
    discussion: """
      The C compiler is the clang on PATH, or the one whose path GRAFT_CLANG holds; version 14 or later.
      """)

  @Argument(
    help: "An .onnx file, or a bundle to compile again from its graph.", completion: .file())
  var model: String

  @Option(
    name: [.short, .long], help: "The bundle to write.", completion: .directory)
  var output: String

  @Option(
    help: "How pictures become inputs: a JSON file, imagenet, cifar10 or none; kept in the bundle.",
    completion: .file(extensions: ["json"]))
  var preprocess: String?

  @Option(help: "The class names: a text file with one a line, or JSON.", completion: .file())
  var labels: String?

  @OptionGroup var shapes: InputShapeOption
  @OptionGroup var target: TargetOption
  @OptionGroup var training: TrainableOption

  @Option(
    help: ArgumentHelp(
      "How convolutions' schedules are chosen: by the cost model (off), or by measuring the most promising (quick) "
        + "or all of them (full) in the network on this machine.",
      discussion: "What was measured is kept in $XDG_CACHE_HOME/graft."))
  var tune = Tuning.quick

  @Flag(
    help:
      "Prefer the least memory to speed: no convolution takes weights that are larger than its own."
  )
  var compact = false

  @Flag(help: "Say what each pass did, and why it left the rest alone.")
  var explain = false

  @Flag(help: "Say how long each step of the compiler took.")
  var timings = false

  func validate() throws {
    guard let preprocess, !Compiler.preprocessingNames.contains(preprocess),
      !preprocess.contains(where: { "/.".contains($0) }),
      !FileManager.default.fileExists(atPath: preprocess)
    else { return }
    throw ValidationError(
      "--preprocess takes no '\(preprocess.escapedForDisplay)'; it is one of "
        + Compiler.preprocessingNames.joined(separator: ", ") + ", or the path of a JSON file")
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("MODEL", model)
    if let preprocess, !Compiler.preprocessingNames.contains(preprocess) {
      uses.read("--preprocess", preprocess)
    }
    uses.read("--labels", labels)
    uses.write("-o", output, .bundle)
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
    options.target = try target.target()
    options.isCompact = compact
    options.tuning = tune
    options.training = try training.parsed()
    options.progress = { ProgressLine.show($0) }
    let report = try Compiler(options).compile(model, to: output)
    ProgressLine.clear()
    Console.warn(report.warnings)
    if explain { try Console.result(report.explanation) }
    if timings { try Console.result(report.timings) }
    if let training = report.training { Console.note(training) }
    if let tuning = report.tuning { Console.note(tuning.summary) }
    Console.note(
      "\(output): \(report.nodes) kernels for \(report.target), weights "
        + "\(report.packedBytes.asBytes), arena \(report.arenaBytes.asBytes) an image, "
        + "scratch \(report.scratchBytesPerThread.asBytes) a thread, "
        + "\(report.seconds.formatted(digits: 1)) s")
    if compact {
      Console.note(
        "compact: its convolutions are estimated to take "
          + "\(report.estimatedSlowdown.formatted(digits: 2)) times as long as those of the fastest choice"
      )
    }
  }
}

extension Tuning: ExpressibleByArgument {}
