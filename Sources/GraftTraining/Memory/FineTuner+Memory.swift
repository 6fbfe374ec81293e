// What may be kept in memory where there is a limit: decided from a rehearsal that keeps as little as
// possible, before any work starts. What a rehearsal is, and what a run will take, is Forecast's.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftPlanning

/// What a run may keep.
struct MemoryRoom {
  /// Bytes of a training step's arena; nil makes again only what costs next to nothing.
  var arena: Int?
  /// Bytes of values at the freeze line; more than that goes into a file.
  var largestCache = FeatureStore.largestInMemory
  /// Bytes of decoded pictures.
  var pictures = PictureViews.defaultRoom

  /// Keeps nothing that can be read or made again.
  static let least = MemoryRoom(arena: 0, largestCache: 0, pictures: 0)
}

/// The memory of a whole run, told by a rehearsal of it.
struct MemoryEstimate {
  /// The most bytes the rehearsal had: of its training, and of anything.
  let training: Int
  let peak: Int
  /// Bytes in the rehearsal's training: the trainer's session, its arena, and what was kept of the data.
  let session: Int
  let arena: Int
  let kept: Int
  let pictureBytes: Int
  let size: RunSize

  init(_ rehearsal: FineTuner.Rehearsal, in room: MemoryRoom, size: RunSize) {
    let measured = rehearsal.measured
    // Where there is a limit, the run comes after a rehearsal in the same process.
    training = measured.trainingPeak + (room.arena == nil ? 0 : rehearsal.residue)
    session = measured.sessionBytes
    arena = measured.arenaBytes
    let cache = FeatureStore.byteCount(items: measured.cachedRows, widths: size.widths)
    let pictures = measured.pictureBytes * (size.pictures > 0 ? measured.itemsRead : 0)
    kept = (cache <= room.largestCache ? cache : 0) + min(pictures, room.pictures)
    pictureBytes = measured.pictureBytes
    // Both decode pictures, of which the rehearsal may have met smaller ones.
    peak = max(rehearsal.peak, size.decoding.bytes == 0 ? 0 : training - kept + size.decoding.bytes)
    self.size = size
  }

  /// Bytes of decoded pictures that a run would keep.
  private var pictures: Int {
    let (bytes, overflow) = pictureBytes.multipliedReportingOverflow(by: size.pictures)
    return overflow ? .max : bytes
  }

  /// The most bytes that a run will have.
  /// - Parameter arena: of its training step.
  func peak(arena: Int, in room: MemoryRoom) -> Int {
    let data = size.residentBytes(inMemory: room.largestCache) + min(pictures, room.pictures)
    return max(peak, training - kept - self.arena + arena + data)
  }

  /// What may be kept so that a run stays within `limit`: first the values of the step, whose
  /// recomputation costs work, then the cache, then decoded pictures.
  /// - Parameter wanted: the arena of a step that makes again only what costs next to nothing.
  /// - Throws: ``GraftError`` of kind `invalidArgument` where the rehearsal already took more.
  func room(within limit: Int, arena wanted: Int) throws -> MemoryRoom {
    // Between two runs of the same kind the peak differs by a per cent or two.
    var left = limit - limit / 32 - (training - kept - arena)
    guard peak <= limit, arena <= left else {
      let least = max(peak, training - kept)
      throw GraftError(
        .invalidArgument,
        "this run needs at least \((least + least / 31).asBytes), more than the memory limit of "
          + "\(limit.asBytes), even with recomputation and the cache in a file"
          + (size.decoding.bytes > limit / 4
            ? "; \(size.decoding.bytes.asBytes) of these are for decoding the largest images, the largest is "
              + size.decoding.largest.escapedForDisplay : ""),
        advice: "Choose a smaller --batch-size, fewer layers with --unfreeze, or --memory-limit "
          + "\(least + least / 31).")
    }
    var room = MemoryRoom.least
    room.arena = wanted <= left ? nil : left
    left -= min(wanted, left)
    if size.residentBytes(inMemory: FeatureStore.largestInMemory) <= left {
      room.largestCache = FeatureStore.largestInMemory
      left -= size.residentBytes(inMemory: room.largestCache)
    }
    room.pictures = min(PictureViews.defaultRoom, left)
    return room
  }
}

extension FineTuner {
  /// Decides what is kept, where there is a limit.
  /// - Throws: ``GraftError`` as a rehearsal does, and where the limit is too low for any choice.
  mutating func chooseRoom(_ plan: RunPlan, observe: (Event) throws -> Void) throws {
    guard let limit = options.memoryLimit else { return }
    try observe(.note("measuring in a rehearsal what can be kept within \(limit.asBytes)"))
    let rehearsal = try rehearse(plan, in: .least, observe: observe)
    var size = try plan.size()
    size.decoding = plan.largestPictures()
    room = try MemoryEstimate(rehearsal, in: .least, size: size).room(
      within: limit, arena: lowered(plan.training, in: MemoryRoom(), batch: plan.batchSize).arena)
  }

  /// The arena of a training step in `room`, and what runs again in it.
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
  /// What a person is told of it.
  var sentence: String {
    again.isEmpty
      ? "nothing is recomputed"
      : "\(again.count) operators are recomputed in the backward pass, "
        + String(format: "%.2f GFLOP per image", 2 * Double(multiplyAdds) / 1e9)
  }
}
