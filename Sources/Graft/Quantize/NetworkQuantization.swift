// The step of a compilation that puts the layers of a network on bytes: by new ranges, or by those that a bundle
// records.

import GraftDiagnostics
import GraftIR
import GraftPasses

/// What puts the programs of a network on bytes.
struct NetworkQuantization {
  var record: QuantizationRecord
  /// How the record came about, for the user.
  var note: String
  var warnings: [Warning] = []
  /// Whether ranges may be missing because another version of Graft recorded them.
  private let isRecorded: Bool

  init(recorded record: QuantizationRecord) {
    self.record = record
    isRecorded = true
    note = "keeps \(record.summary), as the bundle records"
  }

  /// Measures the ranges of `graphs`, the network's after the passes of ``Pipeline/inference``.
  /// - Parameter record: ranges to keep, and layers that stay float32; nil for none.
  init(
    calibrating graphs: [Graph], of model: SourceModel, on feed: CalibrationFeed,
    keeping record: QuantizationRecord?, compiler: Compiler
  ) throws {
    let seen = try ValueRanges(of: graphs, model, feed, compiler: compiler)
    let known = (record?.ranges ?? [:]).filter { $0.value != nil }
    self.record = QuantizationRecord(
      method: feed.method, items: seen.items,
      ranges: seen.ranges.merging(known) { _, kept in kept },
      kept: (record?.kept ?? []).filter { seen.ranges[$0.value] != nil })
    warnings = seen.warnings
    isRecorded = false
    note = self.record.summary
  }

  /// The pass for a graph after those of ``Pipeline/inference``.
  func pass(for graph: Graph) -> QuantizeNetwork {
    var ranges: [ValueID: ClosedRange<Float>] = [:]
    var kept: [NodeID: String] = [:]
    let reasons = Dictionary(record.kept.map { ($0.value, $0.reason) }) { first, _ in first }
    for (key, value) in ValueKeys(graph).values {
      if let range = record.ranges[key] { ranges[value] = range }
      if let reason = reasons[key], let node = graph.producer(of: value) { kept[node.id] = reason }
    }
    return QuantizeNetwork(ranges: ranges, kept: kept)
  }

  /// What the result lacks because the bundle has no ranges for it.
  /// - Parameters:
  ///   - graphs: the network's after the passes of ``Pipeline/inference``.
  ///   - isOnBytes: whether any layer was put on bytes.
  /// - Throws: ``GraftError`` of kind `invalidBundle` if no layer was.
  func checkRanges(of graphs: [Graph], isOnBytes: Bool) throws -> [Warning] {
    guard isRecorded else { return [] }
    let missing = Set(graphs.flatMap { ValueKeys($0).values.map(\.key) })
      .filter { record.ranges[$0] == nil }.count
    let advice = "calibrate again with --precision int8 --calibrate DATA"
    guard missing > 0 else {
      return isOnBytes
        ? []
        : [Warning("none of the layers can be put on bytes by the recorded ranges; \(advice)")]
    }
    guard isOnBytes else {
      throw GraftError(
        .invalidBundle,
        "none of the layers can be put on bytes: the bundle records no range for \(missing) of its values",
        advice: "Either \(advice), or compile it with --precision float32.")
    }
    return [
      Warning(
        "the bundle records no range for \(missing) \(missing == 1 ? "value" : "values"), "
          + "which \(missing == 1 ? "stays" : "stay") float32; \(advice)")
    ]
  }
}

extension Compiler {
  /// A compiler with the same target that neither tunes nor measures anything.
  func plain(_ precision: Precision?) -> Compiler {
    var own = Options()
    own.target = options.target
    own.isCompact = options.isCompact
    own.precision = precision
    own.progress = options.progress
    return Compiler(own)
  }

  /// How the layers of `model` are put on bytes; nil for float32.
  /// - Parameters:
  ///   - graphs: the model's after the passes of ``Pipeline/inference``.
  ///   - feed: data to calibrate what has no recorded range.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if there are neither data nor recorded ranges.
  func quantization(
    of graphs: [Graph], _ model: SourceModel, calibratingOn feed: CalibrationFeed?
  ) throws -> NetworkQuantization? {
    guard options.precision == nil || options.precision == .int8 else { return nil }
    if let calibration = options.quantization {
      return try NetworkQuantization(
        calibrating: graphs, of: model, on: CalibrationFeed(calibration), keeping: nil,
        compiler: self)
    }
    guard let record = model.quantization else {
      guard options.precision == .int8 else { return nil }
      throw GraftError(
        .invalidArgument,
        "int8 needs the ranges of the network's values, and the model records none",
        advice:
          "Give data like those that it will see with --calibrate: a folder of images, or a .npy file of "
          + "inputs.")
    }
    guard let feed else { return NetworkQuantization(recorded: record) }
    return try NetworkQuantization(
      calibrating: graphs, of: model, on: feed, keeping: record, compiler: self)
  }
}

extension PassReport {
  /// Whether layers were put on bytes.
  var isOnBytes: Bool {
    notes.contains { $0.pass == QuantizeNetwork.name && $0.action == .did }
  }
}
