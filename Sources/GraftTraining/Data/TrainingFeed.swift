// What the steps of an epoch are fed: values at the freeze line that were computed once and kept,
// or random views that go through the trunk as they are needed.

import Graft
import GraftData
import GraftDiagnostics

/// The input of one step, beside its targets.
struct StepInput {
  /// The values at the freeze line, one row an item for each.
  var features: [[Float]]
  /// How the items were mixed, where they were; their targets are to be mixed likewise.
  var mixing: BatchMixing.Recipe?
  /// [N, C] logits of a teacher, where there is one.
  var teacherLogits: [Float]?
}

/// Where the inputs of steps come from.
protocol TrainingFeed: AnyObject {
  /// What an epoch (from 0) will learn from, in which order. May be told while the epoch before it
  /// ends.
  /// - Parameter progress: told in words what takes its time.
  func prepare(epoch: Int, order: [Int], progress: (String) -> Void) throws
  /// The input of the next step, of the items that are `rows` of its training data.
  func next(_ rows: ArraySlice<Int>, epoch: Int, batch: Int) throws -> StepInput
}

/// Values that are kept: of every item as it is, or of a number of views of each.
final class StoredFeed: TrainingFeed {
  private let features: FeatureStore
  private let teacherLogits: FeatureStore?
  private let items: Int
  private let reader: ViewReader?
  private var isMade: [Bool]

  /// Values that are there.
  /// - Parameter teacherLogits: a row for each row of `features`.
  init(_ features: FeatureStore, teacherLogits: FeatureStore? = nil, items: Int) {
    self.features = features
    self.teacherLogits = teacherLogits
    self.items = items
    reader = nil
    isMade = [true]
  }

  /// Views that are made for the first epoch that needs them: view k serves the epochs e with k = e
  /// mod `views`.
  /// - Parameter largest: bytes beyond which they are kept in a file.
  /// - Throws: ``GraftError`` where there is no room for all of them.
  init(_ reader: ViewReader, views: Int, inMemory largest: Int) throws {
    self.reader = reader
    items = reader.data.count
    let (rows, overflow) = items.multipliedReportingOverflow(by: views)
    guard !overflow else {
      throw GraftError(.machine, "\(views) views are too large for the address space")
    }
    features = try FeatureStore(items: rows, widths: reader.trunk.widths, inMemory: largest)
    teacherLogits = try reader.teacher.map {
      try FeatureStore(items: rows, widths: [$0.classCount], inMemory: largest)
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

/// Random views, mixed with each other where that is wanted, through the trunk as they are needed.
/// Pictures are read ahead by other threads.
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
      features: try reader.trunk.run(batch), mixing: recipe,
      teacherLogits: try reader.teacher?.logits(of: batch))
  }
}

/// Takes random views of training data through a trunk, and shows them to a teacher.
struct ViewReader {
  let network: PictureNetwork
  let trunk: Trunk
  let dataset: any Dataset
  let data: TrainingData
  let views: PictureViews
  let teacher: LoadedTeacher?
  let batchSize: Int
  let threads: Int

  /// Starts reading one view of the items that are these rows of the training data.
  func loader(_ rows: [Int], view: Int) throws -> BatchLoader {
    try network.loader(
      dataset, batchSize: batchSize, threads: threads, order: rows.map { data.places[$0] },
      view: (views, view))
  }

  /// - Throws: ``GraftError`` where a batch is not of these rows, since a file has changed
  ///   meanwhile.
  func check(_ batch: Batch, of rows: ArraySlice<Int>, _ loader: BatchLoader) throws {
    if let broken = loader.brokenItems.first { throw broken.error }
    guard batch.indices == rows.map({ data.places[$0] }) else {
      throw GraftError(.inconsistency, "a batch does not have the requested items")
    }
  }

  /// Writes the values at the freeze line of a view of all items `rows` into their places in
  /// `features`, and the teacher's logits into theirs.
  func read(
    _ rows: [Int], view: Int, into features: FeatureStore, _ teacherLogits: FeatureStore?,
    progress: (Int, Int) -> Void
  ) throws {
    let loader = try loader(rows, view: view)
    var start = 0
    while start < rows.count, let batch = try loader.next() {
      let own = rows[start..<min(start + batch.count, rows.count)]
      try check(batch, of: own, loader)
      let values = try trunk.run(batch)
      let logits = try teacher?.logits(of: batch)
      for (position, row) in own.enumerated() {
        let target = view * data.count + row
        for (kind, width) in features.widths.enumerated() {
          try features.write(
            values[kind][(position * width)..<((position + 1) * width)], to: target, kind: kind)
        }
        if let logits, let teacherLogits {
          let width = teacherLogits.widths[0]
          try teacherLogits.write(
            logits[(position * width)..<((position + 1) * width)], to: target, kind: 0)
        }
      }
      start += batch.count
      progress(start, rows.count)
    }
  }
}
