// Memory limits: decides before a run what is kept in memory, from a rehearsal that keeps as little as
// possible. Rehearsals and estimates of a run are in FineTuner+Forecast.swift.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftPlanning

/// The memory budgets of a run.
struct MemoryRoom {
  /// The arena of a training step in bytes; nil recomputes only values that are cheap to recompute.
  var arena: Int?
  /// The size of the cache at the freeze line in bytes above which it is stored in a file.
  var largestCache = FeatureStore.largestInMemory
  /// The maximum size of the decoded images in bytes.
  var pictures = AugmentedViews.defaultRoom

  /// Keeps nothing that can be read again or recomputed.
  static let least = MemoryRoom(arena: 0, largestCache: 0, pictures: 0)
}

/// The memory of a whole run, estimated from a rehearsal.
struct MemoryEstimate {
  /// The peak memory of the rehearsal in bytes: during training, and overall.
  let training: Int
  let peak: Int
  /// Bytes during the rehearsal's training: the trainer's session, its arena, and the cached data.
  let session: Int
  let arena: Int
  let kept: Int
  let pictureBytes: Int
  let size: RunSize

  init(_ rehearsal: FineTuner.Rehearsal, in room: MemoryRoom, size: RunSize) {
    let measured = rehearsal.measured
    // With a limit, the run follows a rehearsal in the same process.
    training = measured.trainingPeak + rehearsal.residue
    session = measured.sessionBytes
    arena = measured.arenaBytes
    let cache = FeatureStore.byteCount(items: measured.cachedRows, forms: size.forms)
    let pictures = measured.pictureBytes * (size.pictures > 0 ? measured.itemsRead : 0)
    kept = (cache <= room.largestCache ? cache : 0) + min(pictures, room.pictures)
    pictureBytes = measured.pictureBytes
    // Both decode images, but the rehearsal may have seen only smaller ones.
    peak = max(
      rehearsal.peak + rehearsal.residue,
      size.decoding.bytes == 0 ? 0 : training - kept + size.decoding.bytes)
    self.size = size
  }

  /// Bytes of decoded images that a run would keep.
  private var pictures: Int {
    let (bytes, overflow) = pictureBytes.multipliedReportingOverflow(by: size.pictures)
    return overflow ? .max : bytes
  }

  /// The memory that a run may take of which these bytes are expected: the peak of identical runs varies by one or
  /// two percent.
  private static func withReserve(_ bytes: Int) -> Int { bytes + bytes / 31 }

  /// The peak memory in bytes that a run does not exceed.
  /// - Parameter arena: the arena of its training step in bytes.
  func peak(arena: Int, in room: MemoryRoom) -> Int {
    let data = size.residentBytes(inMemory: room.largestCache) + min(pictures, room.pictures)
    return Self.withReserve(max(peak, training - kept - self.arena + arena + data))
  }

  /// The budgets with which a run stays within `limit`. Activations of the step have priority, because
  /// recomputing them costs time, then the cache, then decoded images.
  /// - Parameter wanted: the arena in bytes of a step that recomputes only what is cheap.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the rehearsal already exceeded the limit.
  func room(within limit: Int, arena wanted: Int) throws -> MemoryRoom {
    // The inverse of the reserve.
    var left = limit - limit / 32 - (training - kept - arena)
    let least = Self.withReserve(max(peak, training - kept))
    guard least <= limit, arena <= left else {
      throw GraftError(
        .invalidArgument,
        "this run needs at least \(least.asBytes), more than the memory limit of "
          + "\(limit.asBytes), even with recomputation and the cache in a file"
          + (size.decoding.bytes > limit / 4
            ? "; \(size.decoding.bytes.asBytes) of these are for decoding the largest images, the largest is "
              + size.decoding.largest.escapedForDisplay : ""),
        advice: "Choose a smaller --batch-size, fewer layers with --unfreeze, or --memory-limit "
          + "\(least + least / 20).")
    }
    var room = MemoryRoom.least
    room.arena = wanted <= left ? nil : left
    left -= min(wanted, left)
    if size.residentBytes(inMemory: FeatureStore.largestInMemory) <= left {
      room.largestCache = FeatureStore.largestInMemory
      left -= size.residentBytes(inMemory: room.largestCache)
    }
    room.pictures = min(AugmentedViews.defaultRoom, left)
    return room
  }
}

extension FineTuner {
  /// Chooses the budgets if there is a limit.
  /// - Throws: ``GraftError`` as a rehearsal does, and if the limit is too low for any choice.
  mutating func chooseRoom(_ plan: RunPlan, observe: (Event) throws -> Void) throws {
    guard let limit = options.memoryLimit else { return }
    try observe(.note("measuring in a rehearsal what can be kept within \(limit.asBytes)"))
    let rehearsal = try rehearse(plan, in: .least, observe: observe)
    room = try MemoryEstimate(rehearsal, in: .least, size: plan.size()).room(
      within: limit, arena: lowered(plan.training, in: MemoryRoom(), batch: plan.batchSize).arena)
  }

  /// The arena of a training step within `room`, and what it recomputes.
  func lowered(
    _ plan: FineTuningPlan, in room: MemoryRoom, batch: Int
  ) throws -> (arena: Int, again: RematerializationReport) {
    let step = try TrainingCompiler(target: options.target).lower(
      plan.training.step, keepsOrder: true,
      within: room.arena.map { ArenaLimit(batch: batch, bytes: $0) })
    return (
      step.plan.bytes(batch: batch),
      step.recomputation ?? RematerializationReport()
    )
  }
}

extension RematerializationReport {
  /// A description for the user.
  var sentence: String {
    again.isEmpty
      ? "nothing is recomputed"
      : "\(again.count) operators are recomputed in the backward pass, "
        + String(format: "%.2f GFLOP per image", 2 * Double(multiplyAdds) / 1e9)
  }
}
