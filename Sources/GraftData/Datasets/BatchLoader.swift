// Reads and preprocesses batches of a data set on several threads ahead of the consumer. The order is
// deterministic; memory is bounded by the maximum number of items read ahead.

import Foundation
import GraftDiagnostics
import GraftSystem

/// A batch of network inputs.
public struct Batch: Sendable {
  /// The indices of the items in the data set.
  public var indices: [Int]
  /// The concatenated values of the items, for each input.
  public var inputs: [[Float]]
  /// The targets, one per item.
  public var targets: [Target]

  /// The number of items.
  public var count: Int { indices.count }
}

/// An item that could not be read and was skipped.
public struct BrokenItem: Sendable {
  public var index: Int
  /// Names the file.
  public var error: GraftError
}

/// Batches of a data set in order. Not to be used by two threads at once.
public final class BatchLoader {
  /// The maximum number of broken items whose errors are kept.
  public static let brokenItemLimit = 100

  /// The first broken items so far, at most ``brokenItemLimit``.
  public private(set) var brokenItems: [BrokenItem] = []
  /// The number of broken items so far.
  public private(set) var brokenCount = 0
  private var brokenKinds: [String: (count: Int, names: [String])] = [:]
  /// The number of items delivered so far.
  public private(set) var deliveredCount = 0

  private let dataset: any Dataset
  private let order: [Int]
  private let batchSize: Int
  private let inputSizes: [Int]
  private let pipeline: Pipeline
  private var position = 0

  /// Starts reading.
  /// - Parameters:
  ///   - inputs: The network's inputs, with shapes without the batch axis.
  ///   - preprocessing: The preprocessing of images; not needed for data sets of tensors.
  ///   - batchSize: The number of items per batch; the last batch may have fewer.
  ///   - threads: The number of reading threads.
  ///   - order: The indices of the items to read, in order; all by default.
  ///   - view: The number of the random view of images; nil for no augmentation.
  ///   - otherShapes: Other shapes that the input may have if it is an image, without the batch axis, as only
  ///     ``nextItem()`` tells which.
  ///   - mapSize: The size of the network's map of class scores; maps of classes are scaled to it.
  ///   - picture: The network's output if it is an image; targets that are images become its values.
  /// - Throws: ``GraftError`` if images cannot be converted to the network's input, of kind `machine` if no
  ///   thread can be started.
  public init(
    _ dataset: any Dataset, feeding inputs: [TensorSpecification], preprocessing: Preprocessing?,
    batchSize: Int, threads: Int, order: [Int]? = nil,
    view: (views: AugmentedViews, number: Int)? = nil,
    otherShapes: [[Int]] = [], mapSize: (height: Int, width: Int)? = nil,
    picture: PictureOutput? = nil
  ) throws {
    let items = try ItemReader(
      dataset: dataset, inputs: inputs, otherShapes: otherShapes, preprocessing: preprocessing,
      view: view, mapSize: mapSize, picture: picture)
    self.dataset = dataset
    self.order = order ?? Array(0..<dataset.count)
    self.batchSize = max(1, batchSize)
    inputSizes = items.sizes
    let threads = max(1, min(threads, self.order.count, 256))
    pipeline = Pipeline(order: self.order, capacity: self.batchSize + 2 * threads, items: items)
    let started = (0..<threads).prefix { _ in
      WorkerThreads.start { [pipeline] in pipeline.work() }
    }
    guard !started.isEmpty else {
      throw GraftError(
        .machine, "cannot start a thread to read the data",
        advice: "Raise the limit on processes (ulimit -u) or on memory (ulimit -v).")
    }
  }

  deinit { pipeline.cancel() }

  /// Stops reading: ``next()`` throws from now on. May be called from any thread.
  public func cancel() { pipeline.cancel() }

  /// The next batch, or nil after the last. Broken items are skipped and counted, and following items take
  /// their place.
  /// - Throws: ``GraftError``: `cancelled` after ``cancel()``, `invalidData` if all items were broken.
  public func next() throws -> Batch? {
    var batch = Batch(indices: [], inputs: [], targets: [])
    batch.indices.reserveCapacity(batchSize)
    batch.targets.reserveCapacity(batchSize)
    batch.inputs = inputSizes.map { size in
      var values: [Float] = []
      values.reserveCapacity(size * min(batchSize, order.count - position))
      return values
    }
    while batch.count < batchSize, position < order.count {
      let index = order[position]
      switch try pipeline.take(position) {
      case .success(let item):
        batch.indices.append(index)
        batch.targets.append(item.target)
        for (input, values) in item.inputs.enumerated() { batch.inputs[input] += values }
      // A broken image file is skipped; an error in a tensor file is fatal.
      case .failure(let error) where !dataset.holdsImages: throw error
      case .failure(let error):
        brokenCount += 1
        if brokenItems.count < Self.brokenItemLimit {
          brokenItems.append(BrokenItem(index: index, error: error))
        }
        // The text before the colon is the kind of error, after it the location in the file.
        let kind = error.message.prefix { $0 != ":" }
        var entry = brokenKinds[String(kind)] ?? (0, [])
        entry.count += 1
        if entry.names.count < 3 { entry.names.append(name(of: error, at: index)) }
        brokenKinds[String(kind)] = entry
      }
      position += 1
    }
    deliveredCount += batch.count
    if batch.count > 0 { return batch }
    if deliveredCount == 0 { throw nothingReadable() }
    return nil
  }

  /// The file that an error of an item is about: its own or that of its target.
  private func name(of error: GraftError, at index: Int) -> String {
    let target = dataset.targetPath(of: index)
    let isTarget = error.location.file == target && target != dataset.path(of: index)
    return isTarget && target.hasPrefix(dataset.location + "/")
      ? String(target.dropFirst(dataset.location.count + 1)) : dataset.name(of: index)
  }

  /// The next item on its own, broken or not, or nil after the last.
  /// - Returns: the item, and for an image which of the input's shapes it has: 0 for that of the inputs, then the
  ///   other ones.
  /// - Throws: ``GraftError`` of kind `cancelled` after ``cancel()``.
  public func nextItem() throws -> (index: Int, item: Result<(Batch, shape: Int), GraftError>)? {
    guard position < order.count else { return nil }
    let index = order[position]
    let result = try pipeline.take(position)
    position += 1
    return (
      index,
      result.map {
        (Batch(indices: [index], inputs: $0.inputs, targets: [$0.target]), shape: $0.shape)
      }
    )
  }

  /// One warning per kind of broken item so far, with the count and some of the files.
  public var warnings: [Warning] {
    brokenKinds.sorted { $0.key < $1.key }.map { kind, found in
      let more = found.count > found.names.count ? ", …" : ""
      return Warning(
        "\(found.count) \(found.count == 1 ? "item is" : "items are") skipped, \(kind): "
          + found.names.map(\.escapedForDisplay).joined(separator: ", ") + more,
        at: SourceLocation(file: dataset.location))
    }
  }

  private func nothingReadable() -> GraftError {
    let location = SourceLocation(file: dataset.location)
    guard let first = brokenItems.first else {
      return GraftError(.invalidData, "there are no items to read", at: location)
    }
    return GraftError(
      .invalidData, "none of the \(brokenCount) items could be read", at: location,
      context: ["reading the first: \(first.error)"])
  }
}

/// Distributes positions to the worker threads and buffers their results, which are taken in order. The lock
/// guards all mutable state.
private final class Pipeline: @unchecked Sendable {
  private let order: [Int]
  private let items: ItemReader
  private let condition = NSCondition()
  /// A ring buffer of results by position.
  private var results: [Result<ItemReader.Item, GraftError>?]
  /// The next position to start.
  private var begun = 0
  /// The next position to take.
  private var taken = 0
  private var isCancelled = false

  init(order: [Int], capacity: Int, items: ItemReader) {
    self.order = order
    self.items = items
    results = Array(repeating: nil, count: max(1, min(capacity, order.count)))
  }

  func cancel() {
    condition.lock()
    isCancelled = true
    condition.broadcast()
    condition.unlock()
  }

  /// The loop of a worker thread.
  func work() {
    while let position = begin() {
      let result: Result<ItemReader.Item, GraftError>
      do {
        result = .success(try items.read(order[position]))
      } catch let error as GraftError {
        result = .failure(error)
      } catch {
        result = .failure(GraftError(.inconsistency, "\(error)"))
      }
      condition.lock()
      results[position % results.count] = result
      condition.broadcast()
      condition.unlock()
    }
  }

  private func begin() -> Int? {
    condition.lock()
    defer { condition.unlock() }
    while !isCancelled, begun < order.count, begun - taken >= results.count { condition.wait() }
    guard !isCancelled, begun < order.count else { return nil }
    begun += 1
    return begun - 1
  }

  /// The result of a position, which must be the one after the last taken.
  func take(_ position: Int) throws -> Result<ItemReader.Item, GraftError> {
    condition.lock()
    defer { condition.unlock() }
    let slot = position % results.count
    while true {
      if isCancelled { throw GraftError(.cancelled, "reading the data was cancelled") }
      if let result = results[slot] {
        results[slot] = nil
        taken = position + 1
        condition.broadcast()
        return result
      }
      condition.wait()
    }
  }
}
