// The inputs of training steps: cached values at the freeze line, or random views that go through the trunk
// on demand.

import Graft
import GraftData
import GraftDiagnostics

/// The input of one step, without the targets.
struct StepInput {
  /// The values at the freeze line, each with one row per item, and the targets if ``FeatureStore`` has them.
  var features: [[Float]]
  /// How the items were mixed, if they were; the targets must be mixed in the same way.
  var mixing: BatchMixing.Recipe?
  /// The teacher's logits [N, C], if there is a teacher.
  var teacherLogits: [Float]?
}

/// A source of inputs for training steps.
protocol TrainingFeed: AnyObject {
  /// Prepares the items of an epoch (from 0) in the given order. May be called before the previous epoch
  /// ends.
  /// - Parameter progress: called with a description of long-running work.
  func prepare(epoch: Int, order: [Int], progress: (String) -> Void) throws
  /// The input of the next step, for the given rows of the training data.
  func next(_ rows: ArraySlice<Int>, epoch: Int, batch: Int) throws -> StepInput
}

/// Cached values of every item without augmentation, or of a number of views of each.
final class StoredFeed: TrainingFeed {
  private let features: FeatureStore
  private let teacherLogits: FeatureStore?
  private let items: Int
  private let reader: ViewReader?
  private var isMade: [Bool]

  /// A feed of precomputed values.
  /// - Parameter teacherLogits: a row for each row of `features`.
  init(_ features: FeatureStore, teacherLogits: FeatureStore? = nil, items: Int) {
    self.features = features
    self.teacherLogits = teacherLogits
    self.items = items
    reader = nil
    isMade = [true]
  }

  /// A feed of views that are computed in the first epoch that uses them: epoch e uses view e mod `views`.
  /// - Parameter largest: the size in bytes above which they are stored in a file.
  /// - Throws: ``GraftError`` if there is not enough space for all of them.
  init(_ reader: ViewReader, views: Int, inMemory largest: Int) throws {
    self.reader = reader
    items = reader.data.count
    let (rows, overflow) = items.multipliedReportingOverflow(by: views)
    guard !overflow else {
      throw GraftError(.machine, "\(views) views are too large for the address space")
    }
    features = try FeatureStore(
      items: rows, forms: reader.data.features.forms, inMemory: largest)
    teacherLogits = try reader.teacher.map {
      try FeatureStore(items: rows, forms: [RowForm(width: $0.classCount)], inMemory: largest)
    }
    isMade = Array(repeating: false, count: views)
  }

  func prepare(epoch: Int, order: [Int], progress: (String) -> Void) throws {
    let view = epoch % isMade.count
    guard let reader, !isMade[view] else { return }
    try reader.read(order.sorted(), view: view, into: features, teacherLogits) { done, all in
      progress(
        "frozen layers: view \(view + 1) of \(isMade.count), \(done) of \(all) images")
    }
    isMade[view] = true
  }

  func next(_ rows: ArraySlice<Int>, epoch: Int, batch: Int) throws -> StepInput {
    let view = epoch % isMade.count
    let rows = rows.map { view * items + $0 }[...]
    return StepInput(
      features: try features.gather(rows), teacherLogits: try teacherLogits?.gather(rows).first)
  }
}

/// Random views, optionally mixed, that go through the trunk on demand. Other threads read images ahead.
final class LiveFeed: TrainingFeed {
  private let reader: ViewReader
  private let mixing: BatchMixing
  private var loaders: [Int: BatchLoader] = [:]

  init(_ reader: ViewReader, mixing: BatchMixing) throws {
    self.reader = reader
    self.mixing = mixing
  }

  func prepare(epoch: Int, order: [Int], progress: (String) -> Void) throws {
    guard loaders[epoch] == nil else { return }
    loaders = loaders.filter { $0.key == epoch - 1 }
    loaders[epoch] = try reader.loader(order, view: epoch)
  }

  func next(_ rows: ArraySlice<Int>, epoch: Int, batch number: Int) throws -> StepInput {
    guard let loader = loaders[epoch], var batch = try loader.next() else {
      throw GraftError(.inconsistency, "epoch \(epoch) has no batch \(number)")
    }
    try reader.check(batch, of: rows, loader)
    var recipe: BatchMixing.Recipe?
    if !mixing.isNone {
      let size = reader.network.pictureSize ?? (1, 1)
      let drawn = mixing.recipe(
        seed: reader.views.seed, epoch: epoch, batch: number, size: size)
      for index in batch.inputs.indices {
        drawn.mix(
          &batch.inputs[index], count: batch.count, layout: reader.network.layout, size: size)
      }
      recipe = drawn
    }
    return StepInput(
      features: try reader.values(of: batch), mixing: recipe,
      teacherLogits: try reader.teacher?.logits(of: batch))
  }
}

/// Computes trunk features and teacher logits of random views.
struct ViewReader {
  let network: ImageNetwork
  let trunk: Trunk
  let dataset: any Dataset
  let data: TrainingData
  let views: AugmentedViews
  let teacher: LoadedTeacher?
  let batchSize: Int
  let threads: Int

  /// Starts reading one view of the given rows of the training data.
  func loader(_ rows: [Int], view: Int) throws -> BatchLoader {
    try network.loader(
      dataset, batchSize: batchSize, threads: threads, order: rows.map { data.places[$0] },
      view: (views, view))
  }

  /// The rows of a batch, as in a ``FeatureStore``.
  func values(of batch: Batch) throws -> [[Float]] {
    let hasTargets = data.features.forms.count > trunk.widths.count
    return try trunk.run(batch) + (hasTargets ? [batch.targetRows.flatMap(\.self)] : [])
  }

  /// - Throws: ``GraftError`` if a batch does not have these rows because a file changed during the run.
  func check(_ batch: Batch, of rows: ArraySlice<Int>, _ loader: BatchLoader) throws {
    if let broken = loader.brokenItems.first { throw broken.error }
    guard batch.indices == rows.map({ data.places[$0] }) else {
      throw GraftError(.inconsistency, "a batch does not have the requested items")
    }
  }

  /// Writes the values at the freeze line of one view of `rows` to their rows in `features`, and the
  /// teacher's logits to theirs.
  func read(
    _ rows: [Int], view: Int, into features: FeatureStore, _ teacherLogits: FeatureStore?,
    progress: (Int, Int) -> Void
  ) throws {
    let loader = try loader(rows, view: view)
    var start = 0
    while start < rows.count, let batch = try loader.next() {
      let own = rows[start..<min(start + batch.count, rows.count)]
      try check(batch, of: own, loader)
      let values = try values(of: batch)
      let logits = try teacher?.logits(of: batch)
      for (position, row) in own.enumerated() {
        let target = view * data.count + row
        for (kind, width) in features.forms.map(\.width).enumerated() {
          try features.write(
            values[kind][(position * width)..<((position + 1) * width)], to: target, kind: kind)
        }
        if let logits, let teacherLogits {
          let width = teacherLogits.forms[0].width
          try teacherLogits.write(
            logits[(position * width)..<((position + 1) * width)], to: target, kind: 0)
        }
      }
      start += batch.count
      progress(start, rows.count)
    }
  }
}
