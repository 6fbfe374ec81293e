// --precision auto: compiles a network in every precision that it can have, measures them, and keeps the fastest
// whose accuracy is within bounds.

import Foundation
import GraftData
import GraftDiagnostics

/// The precisions that a network was compiled in, and which was chosen.
public struct PrecisionReport: Encodable, Sendable {
  /// The network in one precision.
  public struct Candidate: Encodable, Sendable {
    public var precision: Precision
    /// The median time of a batch of one image on all cores, tuned like the result.
    public var milliseconds: Double
    /// The median over rounds of its time divided by float32's of the same round.
    public var relativeTime: Double
    /// The weights as the kernels read them.
    public var weightBytes: Int
    /// The fraction of items that are predicted correctly, 0 to 1; nil without data.
    public var top1: Double?
    /// From float32 to this precision; nil for float32 itself, and without data.
    public var comparison: PairedComparison?
    /// Whether its drop in accuracy is within bounds, as far as it was measured.
    public var isAccurate: Bool

    enum CodingKeys: String, CodingKey {
      case precision, milliseconds, top1, comparison
      case relativeTime = "relative_time"
      case weightBytes = "weight_bytes"
      case isAccurate = "is_accurate"
    }
  }

  /// float32 first.
  public var candidates: [Candidate]
  public var chosen: Precision
  /// Precisions that were not compared, with the reason.
  public var omitted: [String]

  /// A precision is taken for faster than a wider one if it takes less than this share of its time: the rest is noise.
  private static let leastGain = 0.98

  /// The fastest of the candidates that are accurate, from the widest to the narrowest; float32 if there is none.
  static func fastest(of candidates: [Candidate]) -> Precision {
    var best = (precision: Precision.float32, time: 1.0)
    for candidate in candidates
    where candidate.isAccurate && candidate.relativeTime < leastGain * best.time {
      best = (candidate.precision, candidate.relativeTime)
    }
    return best.precision
  }

  /// The lines that `graft compile` prints.
  public var lines: [String] {
    candidates.map { candidate in
      var line =
        candidate.precision.rawValue.padding(toLength: 9, withPad: " ", startingAt: 0)
        + String(
          format: " %8.3g ms, %.2f of float32, weights %@", candidate.milliseconds,
          candidate.relativeTime, candidate.weightBytes.asBytes)
      if let top1 = candidate.top1 { line += String(format: ", top-1 %.2f %%", 100 * top1) }
      if let comparison = candidate.comparison {
        line += String(
          format: ", drop %.2f points ± %.2f%@", comparison.drop, comparison.margin,
          candidate.isAccurate ? "" : ": too much")
      }
      return line
    } + omitted + ["chosen    \(chosen.rawValue)"]
  }
}

/// Compiles the candidates of ``Compiler/compileFastest(_:to:)``.
private struct PrecisionSearch {
  let compiler: Compiler
  let path: String
  private let folder: TemporaryFolder

  /// Rounds of measurements, in each of which every candidate has its turn.
  private static let rounds = 7
  private static let secondsPerTurn = 0.15
  init(_ compiler: Compiler, _ path: String) throws {
    (self.compiler, self.path) = (compiler, path)
    folder = try TemporaryFolder()
  }

  struct Candidate {
    var report: CompilationReport
    var path: String
    var answers: LabeledPredictions?
    var comparison: PairedComparison?
  }

  func compile(_ precision: Precision) throws -> Candidate {
    var options = compiler.options
    options.precision = precision
    if precision != .float32 { options.target = options.narrowTarget ?? options.target }
    if precision != .int8 { (options.quantization, options.accuracy) = (nil, nil) }
    let progress = options.progress
    options.progress = { progress("\(precision.rawValue): \($0)") }
    let result = ModelBundle.join(folder.path, "\(precision.rawValue).graft")
    let report = try Compiler(options).compile(path, to: result)
    var candidate = Candidate(report: report, path: result, comparison: report.accuracy?.comparison)
    // That of int8 is known from the search for its layers.
    if let accuracy = compiler.options.accuracy, precision != .int8, report.precision == precision {
      candidate.answers = try LabeledPredictions(
        of: ModelBundle(opening: result), precision.rawValue, on: accuracy.data,
        progress: progress)
    }
    return candidate
  }

  func run() throws -> (candidates: [Candidate], report: PrecisionReport) {
    var candidates = [try compile(.float32)]
    var omitted: [String] = []
    for precision in [Precision.bfloat16, .int8] {
      if precision == .int8, compiler.options.quantization == nil,
        try ModelBundle.precision(at: path) != .int8
      {
        omitted.append("int8      was not tried, because it needs --calibrate DATA")
        continue
      }
      var candidate = try compile(precision)
      guard candidate.report.precision == precision else {
        omitted.append(
          precision.rawValue.padding(toLength: 10, withPad: " ", startingAt: 0)
            + "has no layer that gains by it")
        continue
      }
      if let answers = candidate.answers {
        candidate.comparison = candidates[0].answers?.comparison(with: answers)
      }
      candidates.append(candidate)
    }
    return (candidates, try choose(among: candidates, omitted))
  }

  /// Measures the candidates in turns.
  private func choose(
    among candidates: [Candidate], _ omitted: [String]
  ) throws -> PrecisionReport {
    compiler.options.progress("measuring \(candidates.count) precisions")
    let benchmarks = try candidates.map { try Benchmark(loading: $0.path) }
    var times = [[Double]](repeating: [], count: candidates.count)
    for _ in 0..<Self.rounds {
      for (index, benchmark) in benchmarks.enumerated() {
        times[index].append(
          try benchmark.run(seconds: Self.secondsPerTurn).medianMilliseconds)
      }
    }
    let mostDrop = compiler.options.accuracy?.mostDrop ?? .infinity
    let entries = candidates.enumerated().map { index, candidate in
      PrecisionReport.Candidate(
        precision: candidate.report.precision, milliseconds: times[index].median,
        relativeTime: zip(times[index], times[0]).map { $0 / $1 }.median,
        weightBytes: candidate.report.packedBytes,
        top1: candidate.answers?.top1 ?? candidate.report.accuracy?.int8.top1,
        comparison: candidate.comparison,
        isAccurate: (candidate.comparison?.drop ?? 0) <= mostDrop)
    }
    return PrecisionReport(
      candidates: entries, chosen: PrecisionReport.fastest(of: entries), omitted: omitted)
  }
}

extension Compiler {
  /// Compiles the model at `path` in float32, in bfloat16, and in int8 if ``Options/quantization`` or a bundle gives
  /// its ranges, measures them in turns on this machine with one image on all cores, and writes the fastest to
  /// `output`. With ``Options/accuracy``, a precision whose top-1 accuracy drops by more is left out; int8 first
  /// returns layers to float32. ``Options/precision`` is ignored.
  /// - Throws: ``GraftError`` as ``compile(_:to:)``, and of kind `invalidArgument` if this machine cannot run the
  ///   target.
  public func compileFastest(_ path: String, to output: String) throws -> CompilationReport {
    let destination = try DirectoryReplacement(at: output, keeping: [path])
    let lock = try PathLock(on: output)
    defer { withExtendedLifetime(lock) {} }
    for target in [options.target, options.narrowTarget ?? options.target]
    where !target.isRunnable {
      throw GraftError(
        .invalidArgument,
        "precisions are compared by their time, and this machine cannot run \(target.name)",
        advice: "Choose a precision, or compile on the machine that the bundle is for.")
    }
    let search = try PrecisionSearch(self, path)
    let (candidates, choice) = try search.run()
    guard let winner = candidates.first(where: { $0.report.precision == choice.chosen }) else {
      throw GraftError(.invalidArgument, "there is no precision to choose from")
    }
    try destination.write { folder in
      let files = FileManager.default
      do {
        for file in try files.contentsOfDirectory(atPath: winner.path) {
          try files.copyItem(
            atPath: ModelBundle.join(winner.path, file), toPath: ModelBundle.join(folder, file))
        }
      } catch {
        throw GraftError(
          .inputOutput, "cannot be written: \(error.localizedDescription)",
          at: SourceLocation(file: folder))
      }
    }
    var report = winner.report
    report.choice = choice
    report.warnings += candidates.flatMap { $0.answers?.warnings ?? [] }
    report.warnings = report.warnings.uniqued()
    if choice.chosen != .float32, options.accuracy == nil {
      report.warnings.append(
        Warning(
          "\(choice.chosen.rawValue) was chosen by its time alone; --data with labeled data measures its accuracy"
        ))
    }
    return report
  }
}
