// The records of a run: metrics as JSON lines, a TensorBoard event file, the report. Each is written to the
// path in the options, or else to the tuned bundle.

import Foundation
import Graft
import GraftData
import GraftDiagnostics

/// The records of one run.
final class RunRecords {
  /// The names of records in a bundle.
  enum Name {
    static let metrics = "metrics.jsonl"
    static let report = "report.html"

    /// Whether a file of a bundle is a record of its run, which the network does not need.
    static func isRecord(_ name: String) -> Bool {
      name == metrics || name == report || name.hasPrefix("events.out.tfevents.")
    }
  }

  private let metrics: FileReplacement?
  private let report: FileReplacement?
  private let tensorboard: String?
  private let time = RunRecords.now
  /// Created at the first epoch, so that a run that fails earlier leaves no file.
  private var events: EventFile?

  /// Checks every path before any work.
  /// - Throws: ``GraftError`` of kind `inputOutput` if one cannot be written.
  init(_ options: FineTuner.Options) throws {
    metrics = try options.metrics.map { try FileReplacement(at: $0) }
    report = try options.report.map { try FileReplacement(at: $0) }
    tensorboard = options.tensorboard
  }

  static var now: Double { Date().timeIntervalSince1970 }

  /// Adds the last `count` epochs.
  func add(_ count: Int, of history: [FineTuner.Epoch]) throws {
    try metrics?.write(try Self.lines(history))
    guard let tensorboard else { return }
    let file = try events ?? EventFile(in: tensorboard, time: time)
    events = file
    try Self.add(history.suffix(count), to: file)
  }

  /// Writes the records without other paths to the bundle's folder, and the report to its path.
  func finish(_ history: [FineTuner.Epoch], report text: String, into folder: String) throws {
    if metrics == nil {
      try Self.write(try Self.lines(history), to: ModelBundle.join(folder, Name.metrics))
    }
    if tensorboard == nil {
      let time = (history.first?.time ?? Self.now) - (history.first?.seconds ?? 0)
      let file = try EventFile(
        ModelBundle.join(folder, EventFile.name(time: time)), time: time)
      try Self.add(history[...], to: file)
      try file.close()
    }
    if let report {
      try report.write(Array(text.utf8))
    } else {
      try Self.write(Array(text.utf8), to: ModelBundle.join(folder, Name.report))
    }
  }

  private static func write(_ bytes: [UInt8], to path: String) throws {
    let file = try OutputFile(path)
    try bytes.withUnsafeBytes { try file.write($0) }
    try file.close()
  }

  private static func lines(_ history: [FineTuner.Epoch]) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return try history.reduce(into: []) { $0 += try encoder.encode($1) + [0x0a] }
  }

  private static func add(_ epochs: ArraySlice<FineTuner.Epoch>, to file: EventFile) throws {
    for epoch in epochs {
      let scalars: [(String, Double?)] = [
        ("train/loss", epoch.loss), ("train/accuracy", epoch.accuracy),
        ("val/loss", epoch.validationLoss), ("val/accuracy", epoch.validationAccuracy),
        ("val/mean_iou", epoch.validationMeanIoU),
        ("learning_rate", epoch.learningRate),
      ]
      try file.add(
        scalars.compactMap { tag, value in value.map { (tag, $0) } }, step: epoch.epoch,
        time: epoch.time)
    }
  }
}
