// The data of a run: training and held-out items, their targets, and their features at the freeze line.

import Graft
import GraftData
import GraftDiagnostics
import GraftOps

/// The readable items of a data set, with features and targets.
struct TrainingData {
  /// The features of all readable items, and the targets that have a row of values; empty if views are not cached.
  fileprivate(set) var features: FeatureStore
  /// For classification, the class of each item.
  fileprivate(set) var labels: [Int] = []
  /// For multi-label classification, the concatenated targets of the items; otherwise empty.
  fileprivate(set) var values: [Float] = []
  /// For a regression, the mean loss of outputs that are all zero; otherwise 0.
  fileprivate(set) var lossOfZeros = 0.0
  /// Where every position has a class, the number of positions of each class, per item.
  fileprivate(set) var positionCounts: [[Int]] = []
  /// The file of each item, for reports.
  fileprivate(set) var names: [String] = []
  /// The index of each item in its data set.
  fileprivate(set) var places: [Int] = []
  var count: Int { names.count }
}

/// Reads a data set through a trunk.
struct FeatureReader {
  let network: ImageNetwork
  let trunk: Trunk
  let batchSize: Int
  let threads: Int
  /// What is trained: its task, the number of its outputs and positions, its loss.
  let plan: FineTuningPlan
  /// The rows that are stored of each item.
  let forms: [RowForm]
  /// The size of the features in bytes above which they are stored in a file.
  let largestInMemory: Int

  /// Computes the features of items with the trunk.
  /// - Parameter places: the indices of the items in the data set; all by default.
  /// - Throws: ``GraftError`` if an item has no target, or no item could be read.
  func read(
    _ dataset: any Dataset, places: [Int]? = nil, warnings: inout [Warning],
    progress: (Int, Int) -> Void
  ) throws -> TrainingData {
    let count = places?.count ?? dataset.count
    var data = TrainingData(
      features: try FeatureStore(items: count, forms: forms, inMemory: largestInMemory))
    let loader = try network.loader(
      dataset, batchSize: batchSize, threads: threads, order: places)
    while let batch = try loader.next() {
      try trunk.run(batch, into: data.features, from: data.count)
      let start = data.count
      try add(batch, of: dataset, to: &data)
      for (item, row) in batch.targetRows.enumerated() where plan.targetWidth != nil {
        try data.features.write(row[...], to: start + item, kind: trunk.widths.count)
      }
      progress(loader.deliveredCount + loader.brokenCount, count)
    }
    warnings += loader.warnings
    return data
  }

  /// Determines the readable items and their targets without computing features.
  /// Decoded images are kept in `views` up to its limit.
  func scan(
    _ dataset: any Dataset, _ views: AugmentedViews, warnings: inout [Warning],
    progress: (Int, Int) -> Void
  ) throws -> TrainingData {
    var data = TrainingData(
      features: try FeatureStore(items: 0, forms: forms))
    let loader = try network.loader(
      dataset, batchSize: batchSize, threads: threads, view: (views, 0))
    while let batch = try loader.next() {
      try add(batch, of: dataset, to: &data)
      progress(loader.deliveredCount + loader.brokenCount, dataset.count)
    }
    warnings += loader.warnings
    return data
  }

  private func add(
    _ batch: Batch, of dataset: any Dataset, to data: inout TrainingData
  ) throws {
    let width = plan.outputWidth
    for (index, target) in zip(batch.indices, batch.targets) {
      switch (target, plan.task) {
      case (.map(let map), .positions) where map.values.count == plan.positionCount:
        var counts = [Int](repeating: 0, count: 256)
        for value in map.values { counts[Int(value)] += 1 }
        data.positionCounts.append(Array(counts.prefix(width)))
      case (.label(let label), .classes): data.labels.append(label)
      case (.label(let label), .labels) where (0..<width).contains(label):
        data.labels.append(label)
        data.values += (0..<width).map { $0 == label ? 1 : 0 }
      case (.values(let row), .labels) where row.count == width: data.values += row
      case (.values(let row), .regression) where row.count == width:
        let measure = plan.specification.loss.measure ?? .squared
        let loss = row.reduce(0.0) { $0 + measure(Double($1)) } / Double(max(1, width))
        data.lossOfZeros += (loss - data.lossOfZeros) / Double(data.count + 1)
      default:
        throw GraftError(
          .invalidData,
          "\(dataset.name(of: index).quotedForDisplay) has no target of the kind that the loss needs",
          at: SourceLocation(file: dataset.location),
          advice:
            "Cross-entropy needs one folder per class or class indices in y.npy, mse needs values; a multi-label "
            + "network also accepts N x classes of 0 and 1.")
      }
      data.names.append(dataset.name(of: index))
      data.places.append(index)
    }
  }
}

extension FineTuningPlan {
  /// The number of values of an item's target that are stored with its features: the class of each position, or the
  /// values of a regression; nil for others.
  var targetWidth: Int? {
    switch task {
    case .positions: positionCount
    case .regression: outputWidth
    case .classes, .labels: nil
    }
  }
}

extension Batch {
  /// The values of each item's target: the classes of positions in the order of its map, or those of the output; empty
  /// for other targets.
  var targetRows: [[Float]] {
    targets.map { target in
      switch target {
      case .map(let map): map.values.map { Float($0) }
      case .values(let values): values
      case .label, .picture, .unknown: []
      }
    }
  }
}

/// The split into training and held-out items.
struct Split {
  var training: [Int]
  var validation: [Int]

  init(training: [Int], validation: [Int]) {
    self.training = training
    self.validation = validation
  }

  /// Holds out the fraction `share` of each class (of all items if there are no classes), chosen by `seed`.
  /// Of two or more items, at least one is held out and at least one remains for training.
  init(labels: [Int], count: Int, share: Double, seed: UInt64) {
    training = []
    validation = []
    let groups =
      labels.isEmpty
      ? [Array(0..<count)]
      : Dictionary(grouping: labels.indices, by: { labels[$0] }).sorted { $0.key < $1.key }
        .map(\.value)
    for (number, group) in groups.enumerated() {
      let shuffled = Self.shuffled(group, seed: seed, stream: UInt32(truncatingIfNeeded: number))
      let wanted = (Double(group.count) * share).rounded()
      let held = share == 0 || group.count < 2 ? 0 : min(max(1, Int(wanted)), group.count - 1)
      validation += shuffled[..<held]
      training += shuffled[held...]
    }
    training.sort()
    validation.sort()
  }

  /// Shuffles by sorting random 64-bit keys.
  private static func shuffled(_ items: [Int], seed: UInt64, stream: UInt32) -> [Int] {
    items.map { item -> (UInt64, Int) in
      let words = Philox4x32.block(
        key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)),
        counter: (UInt32(truncatingIfNeeded: item), stream, 0x7370_6c69, 0))
      return (UInt64(words[0]) << 32 | UInt64(words[1]), item)
    }.sorted { $0 < $1 }.map(\.1)
  }
}
