// Accuracy control: measures what int8 costs on labeled data, and leaves as few layers in float32 as keep the drop
// within bounds.

import GraftData
import GraftDiagnostics
import GraftIR

/// The search for the layers that stay float32.
///
/// Layers return to float32 in the order of ``LayerRanking``: 1, 2, 4, 8 … of its groups until the drop is within
/// bounds, then by bisection between the last two numbers. Every candidate is compiled and evaluated on all of the
/// data.
struct AccuracySearch {
  private let compiler: Compiler
  private let model: SourceModel
  /// The model's graphs after the passes of ``Pipeline/inference``.
  private let graphs: [Graph]
  private let options: AccuracyOptions
  private let folder: TemporaryFolder
  private var candidates = 0

  init(
    _ compiler: Compiler, _ model: SourceModel, _ graphs: [Graph], _ options: AccuracyOptions
  ) throws {
    self.compiler = compiler
    self.model = model
    self.graphs = graphs
    self.options = options
    folder = try TemporaryFolder()
  }

  /// A compiled candidate and its predictions.
  private struct Candidate {
    var bundle: ModelBundle
    var answers: LabeledPredictions
  }

  /// The results of the search.
  struct Outcome {
    /// Whether any layer is on bytes.
    var isOnBytes: Bool
    var report: AccuracyReport
    var warnings: [Warning]
  }

  /// - Throws: ``GraftError`` if the network is no classifier, or the data have no classes.
  mutating func run(_ found: NetworkQuantization) throws -> Outcome {
    var quantization = found
    // Layers that an earlier search left in float32 have their chance again.
    quantization.record.kept = []
    let wide = try candidate(nil, like: nil)
    let all = try candidate(quantization.record, like: nil)
    func compare(_ candidate: Candidate) -> PairedComparison {
      wide.answers.comparison(with: candidate.answers)
    }
    let network = try ImageNetwork(wide.bundle).taking(dataAt: options.data)
    let layers = try quantization.pass(for: graphs[network.program])
      .layers(of: graphs[network.program]).nodes.count
    func isWithinBounds(_ candidate: Candidate) -> Bool {
      compare(candidate).drop <= options.mostDrop
    }
    var (chosen, kept) = (all, [Manifest.Quantization.KeptLayer]())
    var isOnBytes = layers > 0
    if !isWithinBounds(all) {
      let groups = try ranking(quantization, network).groups
      func layers(_ count: Int) -> [Manifest.Quantization.KeptLayer] {
        groups.prefix(count).flatMap(\.layers)
      }
      // All groups are float32 itself, whose drop is 0.
      var (low, high, best) = (0, groups.count, wide)
      var step = 1
      while low + 1 < high {
        let count = step < high ? step : (low + high) / 2
        var record = quantization.record
        record.kept = layers(count)
        let next = try candidate(record, like: all.bundle)
        if isWithinBounds(next) { (high, best) = (count, next) } else { low = count }
        step = high == groups.count ? min(2 * count, high) : high
      }
      (chosen, kept, isOnBytes) = (best, layers(high), high < groups.count)
    }
    let report = AccuracyReport(
      float32: try measured(wide), int8: try measured(chosen), comparison: compare(chosen),
      dropOfAll: compare(all).drop, layers: layers, kept: kept)
    var warnings = wide.answers.warnings
    if !isOnBytes {
      warnings.append(
        Warning(
          layers == 0
            ? "no layer can be on bytes, so the bundle computes in float32"
            : "no layer can be on bytes with a drop of at most \(options.mostDrop) points, so the bundle "
              + "computes in float32"))
    }
    return Outcome(isOnBytes: isOnBytes, report: report, warnings: warnings)
  }

  /// Compiles the network and evaluates it on all of the data.
  /// - Parameters:
  ///   - record: what puts it on bytes; nil for float32.
  ///   - relative: a bundle with similar kernels.
  private mutating func candidate(
    _ record: QuantizationRecord?, like relative: ModelBundle?
  ) throws -> Candidate {
    candidates += 1
    let path = ModelBundle.join(folder.path, "\(candidates).graft")
    var source = model
    source.quantization = record
    try compiler.plain(record == nil ? .float32 : .int8).compile(
      source, to: path, reusing: relative)
    let bundle = try ModelBundle(opening: path)
    let answers = try LabeledPredictions(
      of: bundle, record == nil ? "float32" : "int8", on: options.data,
      progress: compiler.options.progress)
    return Candidate(bundle: bundle, answers: answers)
  }

  private func ranking(
    _ quantization: NetworkQuantization, _ network: ImageNetwork
  ) throws -> LayerRanking {
    let graph = graphs[network.program]
    let (dataset, _) = try network.open(options.data)
    let count = min(dataset.count, LayerRanking.mostItems)
    let order = (0..<count).map { $0 * dataset.count / count }
    return try LayerRanking(
      of: graph, quantization.pass(for: graph), output: network.output.name, model,
      compiler: compiler
    ) { body in
      let loader = try network.loader(
        dataset, batchSize: 8, threads: AvailableCores.count, order: order)
      while let batch = try loader.next() { try body(network.tensors(batch)) }
    }
  }

  private func measured(_ candidate: Candidate) throws -> AccuracyReport.Network {
    compiler.options.progress("measuring the time of an image")
    let report = try Benchmark(loading: candidate.bundle.path).run(seconds: 0.3)
    return AccuracyReport.Network(
      top1: candidate.answers.top1, milliseconds: report.medianMilliseconds,
      weightBytes: candidate.bundle.manifest.files[BundleLayout.packed]?.bytes ?? 0)
  }
}
