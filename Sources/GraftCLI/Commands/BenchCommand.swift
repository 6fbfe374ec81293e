// graft bench: how long a bundle takes on this machine, as a whole and step by step.

import ArgumentParser
import Graft

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Time a bundle on this machine.")

  @Argument(help: "The bundle.", completion: .directory)
  var bundle: String

  @Option(help: "Images in a call.")
  var batch = 1

  @Option(help: "How long to measure, in seconds, after a warm-up.")
  var seconds = 5.0

  @Flag(help: "A line for each kernel: time, share of the whole, arithmetic rate.")
  var perLayer = false

  @Flag(help: "Print one JSON object.")
  var json = false

  @OptionGroup var threads: ThreadsOption

  func validate() throws {
    guard (1...65_536).contains(batch) else {
      throw ValidationError("--batch must be between 1 and 65536")
    }
    guard seconds > 0, seconds <= 3600 else {
      throw ValidationError("--seconds must be above 0 and at most 3600")
    }
  }

  func run() throws {
    let benchmark = try Benchmark(loading: bundle, threads: threads.count, largestBatch: batch)
    let report = try benchmark.run(batch: batch, seconds: seconds) {
      ProgressLine.show("measuring: \($0.formatted(digits: 1)) s")
    }
    ProgressLine.clear()
    if json { return try Console.json(report.document(perLayer: perLayer)) }
    if perLayer { try Console.result(report.layerTable()) }
    try Console.result(
      "\(bundle): loaded in \(report.loadMilliseconds.formatted(digits: 1)) ms, median "
        + "\(report.medianMilliseconds.formatted(digits: 3)) ms, min "
        + "\(report.minimumMilliseconds.formatted(digits: 3)) ms, \(report.runs) runs at batch "
        + "\(batch), \(threads.count) \(threads.count == 1 ? "thread" : "threads"), arena "
        + report.peakArenaBytes.asBytes)
  }
}
