// The checkpoint of a run: after every epoch, one file with the complete training state, and one with the
// best weights so far. Both are written atomically.

import Foundation
import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftRuntime

/// A folder with the state of one run.
struct Checkpoint {
  /// The metadata of the state.
  struct Progress: Codable, Equatable {
    var history: [FineTuner.Epoch]
    var bestEpoch: Int
    /// What each round of pruning removed so far; nil of a run that does not prune.
    var pruned: [[ChannelCut]]?
  }

  let folder: String
  /// The run whose state this is.
  var record: CheckpointRecord?
  private var hasRecord = false

  init(folder: String) { self.folder = folder }

  /// The names of the files in the folder.
  static let fileNames = [
    "state.safetensors", "best-*.safetensors", CheckpointRecord.fileName, "*.partial",
  ]

  /// The file with the record of the run.
  var recordFile: String { ModelBundle.join(folder, CheckpointRecord.fileName) }

  /// The file with the training state.
  var state: String { ModelBundle.join(folder, "state.safetensors") }
  private func best(_ epoch: Int) -> String {
    ModelBundle.join(folder, "best-\(epoch).safetensors")
  }

  /// The key of the progress in the metadata of a state (``LoadedTrainer/save(to:note:)``).
  private static let noteKey = "graft.note"

  var exists: Bool { FileManager.default.fileExists(atPath: state) }

  /// Creates the folder.
  /// - Throws: ``GraftError`` of kind `inputOutput`.
  func prepare() throws { try makeFolder(folder) }

  /// Records that the run diverged, so that it may continue with other learning rates.
  func noteDivergence(after epoch: Int) throws {
    guard exists, var record else { return }
    record.divergedAfter = epoch
    try write(record)
  }

  private func write(_ record: CheckpointRecord) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try FileReplacement(at: recordFile).write(Array(encoder.encode(record)))
  }

  /// Writes the state after an epoch. The best weights are written first, so that a state never refers to a
  /// missing best epoch.
  /// - Parameter keepsBest: whether this epoch's weights may be needed after later epochs.
  mutating func save(
    _ trainer: LoadedTrainer, _ progress: Progress, keepsBest: Bool
  ) throws {
    let bestEpoch = progress.bestEpoch
    // Ctrl-C before the first state removes what would be an empty checkpoint.
    let isNewFolder = !FileManager.default.fileExists(atPath: folder)
    if isNewFolder { TemporaryPaths.add(folder) }
    defer { if isNewFolder { TemporaryPaths.remove(folder) } }
    try prepare()
    if !hasRecord, let record {
      try write(record)
      hasRecord = true
    }
    if keepsBest, bestEpoch == progress.history.count { try trainer.save(to: best(bestEpoch)) }
    let note = try JSONEncoder().encode(progress)
    try trainer.save(to: state, note: String(decoding: note, as: UTF8.self))
    removeFiles { $0.hasPrefix("best-") && $0 != "best-\(bestEpoch).safetensors" }
  }

  /// Loads the state to continue a run.
  /// - Throws: ``GraftError`` if there is no state.
  func resume(_ trainer: LoadedTrainer) throws -> Progress {
    let location = SourceLocation(file: folder)
    guard exists else {
      throw GraftError(.invalidData, "there is no checkpoint to resume", at: location)
    }
    return try progress(in: trainer.load(from: state))
  }

  /// The progress of the state, which says what the state is of.
  /// - Throws: ``GraftError`` if there is no state, or it cannot be read.
  func progress() throws -> Progress {
    let metadata = try Safetensors.metadata(of: state)
    return try progress(in: metadata[Self.noteKey] ?? "")
  }

  private func progress(in note: String) throws -> Progress {
    guard let progress = try? JSONDecoder().decode(Progress.self, from: Data(note.utf8)),
      (1...max(1, progress.history.count)).contains(progress.bestEpoch)
    else {
      throw GraftError(
        .invalidData, "the checkpoint contains no progress", at: SourceLocation(file: folder))
    }
    return progress
  }

  /// Loads the weights of the best epoch, which is earlier than the state's, into the trainer.
  func loadBest(_ epoch: Int, into trainer: LoadedTrainer) throws {
    _ = try trainer.load(from: best(epoch))
  }

  /// Removes the state, and the folder if it is then empty.
  func remove() {
    removeState()
    rmdir(folder)
  }

  /// Removes the state.
  func removeState() {
    // The state first: without it the other files are ignored.
    removeFiles { $0 == "state.safetensors" }
    removeFiles { $0.hasPrefix("best-") || $0 == CheckpointRecord.fileName }
  }

  private func removeFiles(where isOld: (String) -> Bool) {
    let files = FileManager.default
    for name in (try? files.contentsOfDirectory(atPath: folder)) ?? []
    where isOld(name) || name.hasSuffix(".partial") {
      try? files.removeItem(atPath: ModelBundle.join(folder, name))
    }
  }
}
