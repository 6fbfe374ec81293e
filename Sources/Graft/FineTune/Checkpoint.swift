// The state of a run on disk: after every epoch one file with everything that the next epoch depends on, and
// one with the best weights so far. Each appears whole or not at all.

import Foundation
import GraftData
import GraftDiagnostics
import GraftRuntime

/// A folder with the state of one run.
struct Checkpoint {
  /// What is noted beside the state.
  struct Progress: Codable, Equatable {
    /// What tells runs apart: options, bundle and data.
    var run: String
    var history: [FineTuner.Epoch]
    var bestEpoch: Int
  }

  let folder: String
  var run = ""

  /// The names of the files in the folder.
  static let fileNames = ["state.safetensors", "best-*.safetensors", "*.partial"]

  private var state: String { ModelBundle.join(folder, "state.safetensors") }
  private func best(_ epoch: Int) -> String {
    ModelBundle.join(folder, "best-\(epoch).safetensors")
  }

  var exists: Bool { FileManager.default.fileExists(atPath: state) }

  /// Makes the folder.
  /// - Throws: ``GraftError`` of kind `inputOutput`.
  func prepare() throws { try makeFolder(folder) }

  /// Writes the state after an epoch. The best weights come first: a state never names a best epoch that
  /// is not there.
  /// - Parameter keepsBest: a later epoch may turn out worse than this one.
  func save(
    _ trainer: LoadedTrainer, history: [FineTuner.Epoch], bestEpoch: Int, keepsBest: Bool
  ) throws {
    try prepare()
    if keepsBest, bestEpoch == history.count { try trainer.save(to: best(bestEpoch)) }
    let note = try JSONEncoder().encode(
      Progress(run: run, history: history, bestEpoch: bestEpoch))
    try trainer.save(to: state, note: String(decoding: note, as: UTF8.self))
    removeFiles { $0.hasPrefix("best-") && $0 != "best-\(bestEpoch).safetensors" }
  }

  /// Takes up a run where it stopped.
  /// - Throws: ``GraftError`` where there is none, or it is of another run.
  func resume(_ trainer: LoadedTrainer) throws -> Progress {
    let location = SourceLocation(file: folder)
    guard exists else {
      throw GraftError(.invalidData, "there is no checkpoint to resume", at: location)
    }
    let note = try trainer.load(from: state)
    guard let progress = try? JSONDecoder().decode(Progress.self, from: Data(note.utf8)),
      (1...max(1, progress.history.count)).contains(progress.bestEpoch)
    else { throw GraftError(.invalidData, "the checkpoint has no progress in it", at: location) }
    guard progress.run == run else {
      throw GraftError(
        .invalidData, "the checkpoint is of another run", at: location,
        advice: "Resume with the options, the bundle and the data that it was started with.")
    }
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
    removeFiles { $0 == "state.safetensors" || $0.hasPrefix("best-") }
  }

  private func removeFiles(where isOld: (String) -> Bool) {
    let files = FileManager.default
    for name in (try? files.contentsOfDirectory(atPath: folder)) ?? []
    where isOld(name) || name.hasSuffix(".partial") {
      try? files.removeItem(atPath: ModelBundle.join(folder, name))
    }
  }
}
