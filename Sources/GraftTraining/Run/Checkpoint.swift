// The state of a run on disk: after every epoch one file with everything that the next epoch depends on, and
// one with the best weights so far. Each appears whole or not at all.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftRuntime

/// A folder with the state of one run.
struct Checkpoint {
  /// What is noted beside the state.
  struct Progress: Codable, Equatable {
    var history: [FineTuner.Epoch]
    var bestEpoch: Int
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

  /// The file that tells which run the state is of.
  var recordFile: String { ModelBundle.join(folder, CheckpointRecord.fileName) }

  private var state: String { ModelBundle.join(folder, "state.safetensors") }
  private func best(_ epoch: Int) -> String {
    ModelBundle.join(folder, "best-\(epoch).safetensors")
  }

  var exists: Bool { FileManager.default.fileExists(atPath: state) }

  /// Makes the folder.
  /// - Throws: ``GraftError`` of kind `inputOutput`.
  func prepare() throws { try makeFolder(folder) }

  /// Notes that the run diverged, so that it may go on at other rates.
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

  /// Writes the state after an epoch. The best weights come first: a state never names a best epoch that
  /// is not there.
  /// - Parameter keepsBest: a later epoch may turn out worse than this one.
  mutating func save(
    _ trainer: LoadedTrainer, history: [FineTuner.Epoch], bestEpoch: Int, keepsBest: Bool
  ) throws {
    try prepare()
    if !hasRecord, let record {
      try write(record)
      hasRecord = true
    }
    if keepsBest, bestEpoch == history.count { try trainer.save(to: best(bestEpoch)) }
    let note = try JSONEncoder().encode(
      Progress(history: history, bestEpoch: bestEpoch))
    try trainer.save(to: state, note: String(decoding: note, as: UTF8.self))
    removeFiles { $0.hasPrefix("best-") && $0 != "best-\(bestEpoch).safetensors" }
  }

  /// Takes up a run where it stopped.
  /// - Throws: ``GraftError`` where there is none.
  func resume(_ trainer: LoadedTrainer) throws -> Progress {
    let location = SourceLocation(file: folder)
    guard exists else {
      throw GraftError(.invalidData, "there is no checkpoint to resume", at: location)
    }
    let note = try trainer.load(from: state)
    guard let progress = try? JSONDecoder().decode(Progress.self, from: Data(note.utf8)),
      (1...max(1, progress.history.count)).contains(progress.bestEpoch)
    else { throw GraftError(.invalidData, "the checkpoint contains no progress", at: location) }
    return progress
  }

  /// Gives the trainer the weights of the best epoch, an earlier one than the state's.
  func loadBest(_ epoch: Int, into trainer: LoadedTrainer) throws {
    _ = try trainer.load(from: best(epoch))
  }

  /// Removes what a run left, and the folder if nothing else is in it.
  func remove() {
    removeState()
    rmdir(folder)
  }

  /// Removes what a run left.
  func removeState() {
    // The state first: without it the rest counts for nothing.
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
