// The preparation of a run according to its plan: the compiled step, the values at the freeze line or their
// feed, the teacher's logits.

import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime

extension FineTuner {
  /// A run that is ready to start.
  struct Preparation {
    var plan: FineTuningPlan
    var trainer: LoadedTrainer
    /// Items per step, at most the number of items.
    var batchSize: Int
    /// The class names of the data; empty if they have none.
    var classes: [String]
    var data: TrainingData
    /// The training items of ``data``.
    var items: [Int]
    var validation: (data: TrainingData, items: [Int])?
    /// The data set of ``validation``, or of ``data`` if there is none.
    var validationSet: any Dataset
    var feed: any TrainingFeed
    /// The random views, if there are any.
    var views: AugmentedViews?
    /// The folder of the compiled step.
    fileprivate var folder: TemporaryFolder

    /// Continues with another step.
    mutating func replaceStep(
      _ plan: FineTuningPlan, _ trainer: LoadedTrainer, in folder: TemporaryFolder
    ) {
      (self.plan, self.trainer, self.folder) = (plan, trainer, folder)
    }

    /// The options with the actual batch size.
    func stepOptions(_ options: Options) -> Options {
      var own = options
      own.batchSize = batchSize
      return own
    }
  }

  /// Compiles the training step, and fills the cache of frozen features.
  mutating func prepare(
    _ plan: RunPlan, observe: (Event) throws -> Void
  ) throws -> Preparation {
    let (options, training, batchSize) = (plan.options, plan.training, plan.batchSize)
    let dataset = plan.sampled(plan.whole)
    try observe(.note(training.summary))
    let folder = try TemporaryFolder()
    let trainer = try compileStep(plan, into: folder.path, observe: observe)
    let trunk = try Trunk(
      training.parts, of: plan.network, batchSize: batchSize, threads: options.threads,
      target: options.target)
    let teacher = try plan.teacher?.loaded(batchSize: batchSize, threads: options.threads)
    let clock = ContinuousClock()
    let start = clock.now
    let views =
      options.isRandom
      ? AugmentedViews(options.augmentation, seed: options.seed, room: room.pictures) : nil
    let read = try read(plan, trunk, views, observe: observe)
    let feed = try feed(plan, trunk, read, views, teacher, observe: observe)
    let size = try plan.size(
      count: read.data.count, items: read.items.count, held: read.validation?.items.count ?? 0)
    measurements.seconds = (clock.now - start) / .seconds(1)
    measurements.itemsRead = size.read
    measurements.cachedRows = size.rows
    // The trainer and the trunk have their own copies of the weights now.
    training.parts.network.releaseWeightPages()
    return Preparation(
      plan: training, trainer: trainer, batchSize: batchSize, classes: dataset.classes,
      data: read.data, items: read.items, validation: read.validation,
      validationSet: read.validationSet, feed: feed, views: views, folder: folder)
  }

  mutating func compileStep(
    _ plan: RunPlan, into folder: String, observe: (Event) throws -> Void
  ) throws -> LoadedTrainer {
    let (options, batchSize) = (plan.options, plan.batchSize)
    try observe(.doing("compiling the training step"))
    let step = try TrainingCompiler(target: options.target).compile(
      plan.training.training, groupNames: plan.training.specification.groupNames, into: folder,
      within: room.arena.map { ArenaLimit(batch: batchSize, bytes: $0) })
    measurements.arenaBytes = step.plan.bytes(batch: batchSize)
    measurements.recomputation = step.recomputation
    if options.memoryLimit != nil { try observe(.note(step.recomputation.sentence)) }
    let library = try TrainingLibrary(
      path: ModelBundle.join(folder, BundleLayout.trainingLibrary))
    measurements.sessionBytes =
      library.sessionBytes(batch: batchSize, threads: options.threads) ?? 0
    return try LoadedTrainer(
      library: library, bundle: folder, seed: options.seed, largestBatch: batchSize,
      threads: options.threads)
  }

  /// The training and held-out items.
  private struct ReadData {
    var data: TrainingData
    var items: [Int]
    var validation: (data: TrainingData, items: [Int])?
    var validationSet: any Dataset
  }

  private mutating func read(
    _ plan: RunPlan, _ trunk: Trunk, _ views: AugmentedViews?, observe: (Event) throws -> Void
  ) throws -> ReadData {
    let options = plan.options
    let dataset = plan.sampled(plan.whole)
    let reader = FeatureReader(
      network: plan.network, trunk: trunk, batchSize: plan.network.batchSize(plan.batchSize),
      threads: options.threads, plan: plan.training, forms: try plan.rowForms(),
      largestInMemory: room.largestCache)
    var found: [Warning] = []
    func features(of dataset: any Dataset, _ places: [Int]? = nil) throws -> TrainingData {
      let count = places?.count ?? dataset.count
      let bytes = FeatureStore.byteCount(items: count, forms: reader.forms)
      try observe(
        .note(
          "\(count) \(count == 1 ? "item" : "items"), \(bytes.asBytes) of frozen features; "
            + trunk.description))
      return try reader.read(dataset, places: places, warnings: &found) { done, all in
        try? observe(.doing("frozen layers: \(done) of \(all) items"))
      }
    }
    let data: TrainingData
    if let views {
      data = try reader.scan(dataset, views, warnings: &found) { done, all in
        try? observe(.doing("\(done) of \(all) images read"))
      }
    } else {
      data = try features(of: dataset)
    }
    let split = plan.split(labels: data.labels, count: data.count)
    var read = ReadData(data: data, items: split.training, validationSet: dataset)
    if let other = plan.validation {
      read.validationSet = plan.sampled(other)
      let held = try features(of: read.validationSet)
      read.validation = (held, Array(0..<held.count))
    } else if !split.validation.isEmpty {
      read.validation = (data, split.validation)
      if views != nil {
        // Held-out items are not augmented.
        let held = try features(of: dataset, split.validation.map { data.places[$0] })
        read.validation = (held, Array(0..<held.count))
      }
    }
    if options.batchSize > read.items.count {
      try observe(
        .note(
          "each step uses all \(read.items.count) training items, which are fewer than the batch "
            + "of \(options.batchSize)"))
    }
    // A sample may lack classes of the whole data set.
    if plan.sampleSize == nil {
      found += try plan.gaps(
        in: plan.whole, data, learning: read.items, holding: read.validation)
    }
    try tell(found, observe: observe)
    return read
  }

  private func feed(
    _ plan: RunPlan, _ trunk: Trunk, _ read: ReadData, _ views: AugmentedViews?,
    _ teacher: LoadedTeacher?, observe: (Event) throws -> Void
  ) throws -> any TrainingFeed {
    let options = plan.options
    let dataset = plan.sampled(plan.whole)
    guard let views else {
      return StoredFeed(
        read.data.features,
        teacherLogits: try teacher?.logits(
          of: dataset, names: read.data.names, threads: options.threads,
          inMemory: room.largestCache
        ) { done, all in try? observe(.doing("teacher: \(done) of \(all) items")) },
        items: read.data.count)
    }
    let reader = ViewReader(
      network: plan.network, trunk: trunk, dataset: dataset, data: read.data, views: views,
      teacher: teacher, batchSize: plan.batchSize, threads: options.threads)
    guard let count = options.cacheViews else {
      try observe(
        .note(
          "every epoch has different views, which go through the frozen layers in every step")
      )
      return try LiveFeed(reader, mixing: options.mixing)
    }
    let bytes = FeatureStore.byteCount(
      items: reader.data.count.multipliedReportingOverflow(by: count).partialValue,
      forms: read.data.features.forms)
    try observe(.note("\(count) views of each image, \(bytes.asBytes) of frozen features"))
    return try StoredFeed(reader, views: count, inMemory: room.largestCache)
  }

  /// Reports warnings to the observer and keeps them for the report.
  mutating func tell(_ found: [Warning], observe: (Event) throws -> Void) throws {
    warnings += found
    for warning in found { try observe(.warning(warning)) }
  }
}
