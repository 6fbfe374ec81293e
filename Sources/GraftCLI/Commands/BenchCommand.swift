// graft bench: how long a bundle takes on this machine, as a whole and step by step.

import ArgumentParser
import Graft
import GraftDiagnostics

struct BenchCommand: ParsableCommand, UsesPaths {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Time a bundle on this machine.")

  @Argument(help: "The bundle; not needed with --machine.", completion: .directory)
  var bundle: String?

  @Option(help: "Images in a call. (default: 1, or as many as the bundle fixes)")
  var batch: Int?

  @Option(help: "How long to measure, in seconds, after a warm-up.")
  var seconds = 5.0

  @Flag(
    help: "A line for each kernel: time, share of the whole, rate, share of the machine's limit.")
  var perLayer = false

  @Flag(help: "Measure what the machine can do at most: arithmetic, and reading memory.")
  var machine = false

  @Flag(help: "Print one JSON object.")
  var json = false

  @OptionGroup var threads: ThreadsOption

  func validate() throws {
    guard (1...65_536).contains(batch ?? 1) else {
      throw ValidationError("--batch must be between 1 and 65536")
    }
    guard seconds > 0, seconds <= 3600 else {
      throw ValidationError("--seconds must be above 0 and at most 3600")
    }
    guard bundle != nil || machine else { throw ValidationError("name a bundle, or --machine") }
  }

  func pathUses() throws -> PathUses {
    var uses = PathUses()
    uses.read("BUNDLE", bundle)
    return uses
  }

  func run() throws {
    guard let bundle else {
      let limits = try measureMachine(for: .native)
      return try json ? Console.json(limits) : Console.result(limits.summary)
    }
    let benchmark = try Benchmark(loading: bundle, threads: threads.count, largestBatch: batch ?? 1)
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

  /// The limits that were asked for, or that lines for each kernel are held against: those of the
  /// instructions that the bundle uses. Without a compiler there are none, which matters only where they
  /// were asked for.
  private func machineLimits(for benchmark: Benchmark) throws -> MachineLimits? {
    guard machine || perLayer else { return nil }
    do {
      return try measureMachine(for: CompilationTarget(named: benchmark.targetName))
    } catch let error as GraftError where !machine {
      Console.note("no shares of the machine's limits: \(error.message)")
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
      + "\(gigaflops.formatted(digits: 1)) GFLOP/s, reads memory at "
      + "\(gigabytesPerSecond.formatted(digits: 1)) GB/s"
  }
}
