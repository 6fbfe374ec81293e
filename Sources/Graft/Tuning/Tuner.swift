// Measures schedules of convolutions inside the network: each build changes the schedule of every convolution
// at once, and builds run alternately. A kernel measured in isolation would have an unrealistic cache state.

import GraftCodegen
import GraftData
import GraftDiagnostics
import GraftIR
import GraftPlanning
import GraftRuntime

/// Chooses schedules of convolutions by measurement.
struct Tuner {
  let generator: CodeGenerator
  let toolchain: Toolchain
  let effort: Tuning
  var threads = AvailableCores.count
  var progress: @Sendable (String) -> Void = { _ in }

  /// The chosen schedules.
  struct Outcome {
    /// The schedules that differ from the cost model's choice.
    var variants: [ConvolutionSite: ConvolutionVariant]
    var report: TuningReport
    var warnings: [Warning]
  }

  /// The minimum fraction of the time that a schedule must save; less may be noise.
  private static let leastGain = 0.03

  /// Chooses for the convolutions of `program`.
  /// - Throws: ``GraftError`` if a build cannot be compiled or run.
  func tune(_ program: ScheduledProgram) throws -> Outcome {
    let candidates = try generator.candidates(graph: program.graph).filter { $0.value.count > 1 }
      .mapValues {
        Array($0.prefix(effort.mostCandidates == .max ? .max : effort.mostCandidates + 1))
      }
    var cache = TuningCache(
      .init(
        tool: GraftVersion.tool, compiler: toolchain.version, cpu: ProcessorName.current,
        target: generator.target.name, threads: threads,
        isCompact: generator.convolutions.algorithm != nil))
    var known: [ConvolutionSite: ConvolutionVariant] = [:]
    for site in candidates.keys { known[site] = cache.variant(at: site, effort: effort) }
    let unknown = candidates.filter { known[$0.key] == nil }

    var trials = Trials(tuner: self, program: program, known: known)
    let found = unknown.isEmpty ? Found() : try trials.measure(unknown)
    cache.add(unknown.mapValues { $0[0] }.merging(found.variants) { $1 }, effort: effort)

    let variants = known.merging(found.variants) { $1 }
    let changed = variants.filter { $0.value != candidates[$0.key]?.first }
    let report = TuningReport(
      effort: effort, threads: threads,
      sites: candidates.keys.sorted { $0.description < $1.description }.compactMap { site in
        (variants[site] ?? candidates[site]?.first).map {
          TuningReport.Site(
            site: site, chosen: $0, ratio: found.ratios[site], isFromCache: known[site] != nil)
        }
      }, changed: changed.count, milliseconds: found.milliseconds)
    return Outcome(
      variants: changed, report: report, warnings: cache.warning.map { [$0] } ?? [])
  }

  /// The results of measurements.
  fileprivate struct Found {
    /// The schedules that are faster than the cost model's choice.
    var variants: [ConvolutionSite: ConvolutionVariant] = [:]
    var ratios: [ConvolutionSite: Double] = [:]
    var milliseconds: (before: Double, after: Double)?
  }

  /// The measurement rounds of one network.
  private struct Trials {
    let tuner: Tuner
    let program: ScheduledProgram
    let known: [ConvolutionSite: ConvolutionVariant]

    /// In each round, every convolution uses its next candidate; those that were faster than the cost model's
    /// choice are then measured once more, all together.
    mutating func measure(
      _ candidates: [ConvolutionSite: [ConvolutionVariant]]
    ) throws -> Found {
      let rounds = (candidates.values.map(\.count).max() ?? 1) - 1
      tuner.progress("tuning: building the cost model's schedules")
      let base = try build([:], after: nil)
      let previous = try base.asPrevious()
      var best: [ConvolutionSite: (variant: ConvolutionVariant, ratio: Double)] = [:]
      for round in 1...max(1, rounds) {
        tuner.progress("tuning: schedules \(round) of \(rounds)")
        let chosen = candidates.compactMapValues { round < $0.count ? $0[round] : nil }
        let ratios = try compare(base, build(chosen, after: previous)).ratios
        for (site, variant) in chosen {
          guard let ratio = ratios[site], ratio < best[site]?.ratio ?? (1 - Tuner.leastGain)
          else { continue }
          best[site] = (variant, ratio)
        }
      }
      guard !best.isEmpty else { return Found() }

      tuner.progress("tuning: measuring the chosen schedules together")
      let winners = try build(best.mapValues(\.variant), after: previous)
      let outcome = try compare(base, winners)
      guard outcome.after < outcome.before else {
        return Found()
      }
      // Drops candidates that were faster only by noise.
      let confirmed = best.filter { outcome.ratios[$0.key] ?? 1 < 1 }
      return Found(
        variants: confirmed.mapValues(\.variant),
        ratios: outcome.ratios.filter { confirmed[$0.key] != nil },
        milliseconds: (outcome.before, outcome.after))
    }

    /// The network with these schedules, compiled and loaded.
    private func build(
      _ variants: [ConvolutionSite: ConvolutionVariant], after previous: PreviousBuild?
    ) throws -> TrialBuild {
      var generator = tuner.generator
      generator.convolutions.variants = known.merging(variants) { $1 }
      let model = try generator.generate([program], reusing: previous)
      return try TrialBuild(
        model, toolchain: tuner.toolchain, reusing: previous, threads: tuner.threads)
    }

    /// Runs both builds alternately.
    /// - Returns: for each convolution, the ratio of its time in the second build to that in the first, and
    ///   the times of the whole network in milliseconds.
    private func compare(
      _ first: TrialBuild, _ second: TrialBuild
    ) throws -> (ratios: [ConvolutionSite: Double], before: Double, after: Double) {
      let builds = [first, second]
      for build in builds { for _ in 0..<2 { _ = try build.run() } }
      var times = [StepTimes(), StepTimes()]
      let clock = ContinuousClock()
      let end = clock.now + .seconds(tuner.effort.secondsPerRound)
      var round = 0
      while round < 8 || clock.now < end {
        // Alternate the order.
        for index in round.isMultiple(of: 2) ? [0, 1] : [1, 0] {
          times[index].add(try builds[index].run())
        }
        round += 1
      }
      let (before, after) = (times[0].bySite(first.sites), times[1].bySite(second.sites))
      let ratios = before.compactMapValues { $0 > 0 ? $0 : nil }
      return (
        Dictionary(
          uniqueKeysWithValues: ratios.compactMap { site, time in
            after[site].map { (site, $0 / time) }
          }), times[0].total, times[1].total
      )
    }
  }
}

/// The times of steps over several runs.
private struct StepTimes {
  private var runs: [[UInt64]] = []

  mutating func add(_ nanoseconds: [UInt64]) { runs.append(nanoseconds) }

  /// The lower quartile of each step's times, because other work on the machine only adds to them.
  private var steps: [Double] {
    (runs.first ?? []).indices.map { step in
      let sorted = runs.compactMap { step < $0.count ? $0[step] : nil }.sorted()
      return sorted.isEmpty ? 0 : Double(sorted[sorted.count / 4])
    }
  }

  /// The summed times of identical convolutions in nanoseconds.
  func bySite(_ sites: [ConvolutionSite?]) -> [ConvolutionSite: Double] {
    zip(sites, steps).reduce(into: [:]) { sums, step in
      if let site = step.0 { sums[site, default: 0] += step.1 }
    }
  }

  /// The time of the whole network in milliseconds.
  var total: Double { steps.reduce(0, +) / 1e6 }
}

/// A build of the network for measurement.
private final class TrialBuild {
  let folder: TemporaryFolder
  /// The site of each step; nil for steps that are not convolutions.
  let sites: [ConvolutionSite?]
  private let names: [String]
  private let call: PreparedCall

  init(
    _ model: GeneratedModel, toolchain: Toolchain, reusing previous: PreviousBuild?, threads: Int
  ) throws {
    folder = try TemporaryFolder()
    sites = model.programs[0].steps.map(\.site)
    names = model.sources.map(\.name)
    let library = try toolchain.compile(model, into: folder.path, reusing: previous)
    try model.packed.write(to: ModelBundle.join(folder.path, BundleLayout.packed))
    let loaded = try LoadedModel(
      library: ModelLibrary(path: library), bundle: folder.path, largestBatch: 1, threads: threads)
    var random = RandomInputs()
    let inputs = try loaded.description.inputs.map { try random.tensor($0.type, batch: 1) }
    call = try PreparedCall(loaded, inputs: inputs, batch: 1, keepingValues: false)
    _ = call.stepNanoseconds()
  }

  /// Runs the network once.
  /// - Returns: the nanoseconds of each step.
  func run() throws -> [UInt64] {
    try call.run()
    return call.stepNanoseconds()
  }

  func asPrevious() throws -> PreviousBuild {
    try PreviousBuild(folder: folder.path, names: names)
  }
}
