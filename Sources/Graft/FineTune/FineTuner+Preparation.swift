// What a run needs before its first step: the data, the network taken apart, the compiled step, the
// values at the freeze line or what makes them.

import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime

extension FineTuner {
  /// A run that could begin.
  struct Preparation {
    var plan: FineTuningPlan
    var trainer: LoadedTrainer
    /// Items of a step: no more than there are.
    var batchSize: Int
    /// The classes of the data; empty where they have no names.
    var classes: [String]
    var data: TrainingData
    /// The items of ``data`` that are learnt from.
    var items: [Int]
    var validation: (data: TrainingData, items: [Int])?
    /// Where the items of ``validation`` stand, or those of ``data`` where there is none.
    var validationSet: any Dataset
    var feed: any TrainingFeed
    /// Where epochs see random views.
    var views: PictureViews?
    /// Holds the compiled step.
    fileprivate var folder: TemporaryFolder

    /// The options with the batch that a step takes.
    func stepOptions(_ options: Options) -> Options {
      var own = options
      own.batchSize = batchSize
      return own
    }
  }

  /// Opens the data, compiles the training step, and takes through the trunk what goes through it
  /// once.
  mutating func prepare(observe: (Event) throws -> Void) throws -> Preparation {
    let network = try PictureNetwork(bundle, output: options.output)
    warnings += network.warnings
    let graph = try loadNetwork()
    let (whole, found) = try open(options.data, network)
    warnings += found
    let classes = try classes(of: whole, network)
    warnings += classes.warnings
    let plan = try at(SourceLocation(file: path)) {
      try FineTuningPlan(graph, classes: classes.count, options: options)
    }
    warnings += plan.warnings
    let dataset = sampled(whole)
    let batchSize = min(options.batchSize, dataset.count)
    try observe(.note(plan.summary))

    let folder = try TemporaryFolder()
    try observe(.doing("compiling the training step"))
    let step = try TrainingCompiler(target: options.target).compile(
      plan.training, groupNames: plan.specification.groupNames, into: folder.path,
      within: room.arena.map { ArenaLimit(batch: batchSize, bytes: $0) })
    measurements.arenaBytes = step.plan.bytes(batch: batchSize)
    measurements.recomputation = step.recomputation
    if options.memoryLimit != nil { try observe(.note(step.recomputation.sentence)) }
    let library = try TrainingLibrary(
      path: ModelBundle.join(folder.path, BundleLayout.trainingLibrary))
    let trainer = try LoadedTrainer(
      library: library, bundle: folder.path, seed: options.seed, largestBatch: batchSize,
      threads: options.threads)

    measurements.sessionBytes =
      library.sessionBytes(batch: batchSize, threads: options.threads) ?? 0

    let trunk = try Trunk(
      plan.parts, of: bundle, inputs: network.inputs, batchSize: batchSize,
      threads: options.threads, target: options.target)
    let reader = FeatureReader(
      network: network, trunk: trunk, batchSize: network.batchSize(batchSize),
      threads: options.threads,
      regressionWidth: plan.task == .classes ? nil : plan.outputWidth,
      areClasses: plan.task == .labels,
      largestInMemory: room.largestCache)
    func read(
      _ dataset: any Dataset, _ places: [Int]? = nil, _ warnings: inout [Warning]
    ) throws -> TrainingData {
      let count = places?.count ?? dataset.count
      let bytes = FeatureStore.byteCount(items: count, widths: trunk.widths)
      try observe(
        .note("\(count) images, \(bytes.asBytes) of frozen features; " + trunk.description))
      return try reader.read(dataset, places: places, warnings: &warnings) { done, all in
        try? observe(.doing("\(done) of \(all) images through the frozen layers"))
      }
    }
    let clock = ContinuousClock()
    let start = clock.now
    let views = try randomViews(of: dataset)
    let data: TrainingData
    if let views {
      data = try reader.scan(dataset, views, warnings: &warnings) { done, all in
        try? observe(.doing("\(done) of \(all) images read"))
      }
    } else {
      data = try read(dataset, nil, &warnings)
    }
    var validation: (data: TrainingData, items: [Int])?
    var validationSet = dataset
    var items = Array(0..<data.count)
    if let other = options.validationData {
      let (set, found) = try openValidation(other, network, like: whole)
      warnings += found
      validationSet = sampled(set)
      let read = try read(validationSet, nil, &warnings)
      validation = (read, Array(0..<read.count))
    } else if options.validationSplit > 0 {
      let split = Split(
        labels: data.labels, count: data.count, share: options.validationSplit, seed: options.seed)
      items = split.training
      if !split.validation.isEmpty {
        validation = (data, split.validation)
        if views != nil {
          // Held out items are judged as they are.
          let held = try read(dataset, split.validation.map { data.places[$0] }, &warnings)
          validation = (held, Array(0..<held.count))
        }
      }
    }
    if options.batchSize > items.count {
      try observe(
        .note(
          "each step takes all \(items.count) items there are to learn from: fewer than the batch "
            + "of \(options.batchSize)"))
    }
    // A part of the data may lack classes that the whole has.
    if sampleSize == nil {
      warnings += try gaps(in: whole, data, learning: items, holding: validation)
    }
    let teacher = try options.teacher.map {
      try TeacherNetwork(
        $0, of: dataset, classCount: plan.outputWidth, batchSize: batchSize,
        threads: options.threads)
    }
    let feed: any TrainingFeed
    if let views {
      try teacher?.checkSees(theInputsOf: network)
      let reader = ViewReader(
        network: network, trunk: trunk, dataset: dataset, data: data, views: views,
        teacher: teacher, batchSize: batchSize, threads: options.threads)
      try observe(.note(try note(on: reader)))
      feed =
        if let count = options.cacheViews {
          try StoredFeed(
            reader, views: count, inMemory: room.largestCache)
        } else {
          try LiveFeed(reader, mixing: options.mixing)
        }
    } else {
      feed = StoredFeed(
        data.features,
        teacherLogits: try teacher?.logits(
          of: dataset, names: data.names, threads: options.threads, inMemory: room.largestCache
        ) { done, all in try? observe(.doing("\(done) of \(all) images through the teacher")) },
        items: data.count)
    }
    measurements.seconds = (clock.now - start) / .seconds(1)
    let held = validation?.data
    let isApart = held != nil && (options.validationData != nil || views != nil)
    measurements.itemsRead = data.count + (isApart ? held?.count ?? 0 : 0)
    measurements.cachedRows =
      (views == nil ? data.count : items.count * (options.cacheViews ?? 0))
      + (isApart ? held?.count ?? 0 : 0)
    // The trainer and the trunk have weights of their own by now.
    for id in graph.parameters { graph[id].parameter?.data?.releasePages() }
    return Preparation(
      plan: plan, trainer: trainer, batchSize: batchSize, classes: dataset.classes, data: data,
      items: items,
      validation: validation, validationSet: validationSet, feed: feed, views: views,
      folder: folder)
  }

  /// The random views that the options ask for; nil where every epoch sees the same.
  private func randomViews(of dataset: any Dataset) throws -> PictureViews? {
    guard options.isRandom else { return nil }
    guard dataset.holdsImages || options.augmentation.isNone else {
      throw GraftError(
        .invalidArgument, "--augment changes pictures, and the data are tensors",
        at: SourceLocation(file: options.data))
    }
    return PictureViews(options.augmentation, seed: options.seed, room: room.pictures)
  }

  /// What is said of random views before they are made.
  private func note(on reader: ViewReader) throws -> String {
    if options.mixing.cutmix != nil, reader.pictureSize == nil {
      throw GraftError(
        .invalidArgument, "--cutmix cuts pictures, and the network's input is none",
        at: SourceLocation(file: path))
    }
    guard let count = options.cacheViews else {
      return
        "every epoch has views of its own, which go through the frozen layers as they are needed"
    }
    let bytes = FeatureStore.byteCount(
      items: reader.data.count.multipliedReportingOverflow(by: count).partialValue,
      widths: reader.trunk.widths)
    return "\(count) views of each image, \(bytes.asBytes) of frozen features"
  }

  /// The bundle's graph with the output that is trained alone.
  func loadNetwork() throws -> Graph {
    try at(SourceLocation(file: path)) {
      try bundle.loadGraph().keepingOutput(
        options.output, labels: bundle.manifest.labels?.count)
    }
  }
}
