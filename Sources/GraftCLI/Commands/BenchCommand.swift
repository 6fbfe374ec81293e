// graft bench: measures the time of a bundle on this machine, in total and per kernel.

import ArgumentParser
import Graft
import GraftDiagnostics

struct BenchCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure the time of a bundle on this machine.",
    discussion: "Running a bundle executes its author's code.")

  @Argument(help: "The bundle; not needed with --machine.", completion: .directory)
  var bundle: String?

  @Option(
    help:
      "The number of images per call, from 1 to 65536. (default: 1, or the bundle's fixed batch size)"
  )
  var batch: Int?

  @Option(
    help: "The duration of the measurement after the warmup, in seconds, above 0 and at most 3600.")
  var seconds = 5.0

  @Flag(
    help:
      "Print one line per kernel: time, percentage of the total, rate, percentage of the machine's limit."
  )
  var perLayer = false

  @Flag(help: "Measure the machine's limits: peak arithmetic rate and memory read bandwidth.")
  var machine = false

  @Flag(help: "Print one JSON object.")
  var json = false

  @OptionGroup var shapes: ProgramShapeOption
  @OptionGroup var threads: ThreadsOption

  func validate() throws {
    guard (1...65_536).contains(batch ?? 1) else {
      throw ValidationError("--batch must be between 1 and 65536")
    }
    guard seconds > 0, seconds <= 3600 else {
      throw ValidationError("--seconds must be above 0 and at most 3600")
    }
    guard bundle != nil || machine else { throw ValidationError("give a bundle or --machine") }
    if bundle == nil, !shapes.texts.isEmpty {
      throw ValidationError("--input-shape chooses a program of a bundle: give the bundle")
    }
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    return uses
  }

  func run() throws {
    guard let bundle else {
      let limits = try measureMachine(for: .nativeForNarrowTypes)
      return try json ? Console.json(limits) : Console.result(limits.summary)
    }
    let benchmark = try Benchmark(
      loading: bundle, threads: threads.count, largestBatch: batch ?? 1,
      inputShapes: shapes.parsed())
    let limits = try machineLimits(for: benchmark)
    let report = try benchmark.run(batch: batch, seconds: seconds, machine: limits) {
      ProgressLine.show("measuring: \($0.formatted(digits: 1)) s")
    }
    ProgressLine.clear()
    if json { return try Console.json(report.document(perLayer: perLayer)) }
    if perLayer { try Console.result(report.layerTable()) }
    if let limits { try Console.result(limits.summary) }
    try Console.result(
      "\(bundle): loaded in \(report.loadMilliseconds.formatted(digits: 1)) ms, median "
        + "\(report.medianMilliseconds.formatted(digits: 3)) ms, min "
        + "\(report.minimumMilliseconds.formatted(digits: 3)) ms, \(report.runs) runs at batch "
        + "\(report.batch), \(threads.count) \(threads.count == 1 ? "thread" : "threads"), arena "
        + report.peakArenaBytes.asBytes)
  }

  /// The machine's limits for the instruction set of the bundle, if requested or needed for the lines per
  /// kernel. Measuring them needs a compiler; without one they are nil unless requested.
  private func machineLimits(for benchmark: Benchmark) throws -> MachineLimits? {
    guard machine || perLayer else { return nil }
    do {
      return try measureMachine(for: CompilationTarget(named: benchmark.targetName))
    } catch let error as GraftError where !machine {
      Console.note("the machine's limits are unknown: \(error.message)")
      return nil
    }
  }

  private func measureMachine(for target: CompilationTarget) throws -> MachineLimits {
    ProgressLine.show("measuring the machine")
    defer { ProgressLine.clear() }
    return try MachineLimits.measure(target: target, threads: threads.count)
  }
}

extension MachineLimits {
  fileprivate var summary: String {
    "this machine at \(target), \(threads) \(threads == 1 ? "thread" : "threads"): "
      + "\(gigaflops.formatted(digits: 1)) GFLOP/s in float32, \(halfGigaflops.formatted(digits: 1)) in "
      + "bfloat16, \(byteGigaops.formatted(digits: 1)) GOP/s in int8, reads memory at "
      + "\(gigabytesPerSecond.formatted(digits: 1)) GB/s"
  }
}
