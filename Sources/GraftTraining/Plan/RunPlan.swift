// The plan of a run, made before any work: the network and its unfrozen layers, the data, the teacher. A run,
// its rehearsal and its estimates use the same plan.

import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR
import GraftRuntime

/// A planned run: everything that can be checked without computing has been checked.
struct RunPlan {
  var options: FineTuner.Options
  let bundle: ModelBundle
  /// The bundle's folder.
  let path: String
  let network: ImageNetwork
  /// The split network and its training step.
  private(set) var training: FineTuningPlan
  /// The network of every program with its new head.
  private(set) var networks: [Graph]
  /// The network of every program before it is split, and the number of its classes.
  private(set) var sources: [Graph]
  private let classCount: Int
  /// Of a run that prunes.
  private(set) var pruning: Pruning?
  /// All of the data, and separate validation data.
  let whole: any Dataset
  let validation: (any Dataset)?
  let teacher: TeacherNetwork?
  /// Warnings for the user before the run, such as skipped files.
  private(set) var warnings: [Warning] = []
  /// For rehearsals, the number of items to use; nil for all.
  private(set) var sampleSize: Int?

  /// - Throws: ``GraftError`` that names the file, the node or the option.
  init(_ bundle: ModelBundle, at path: String, _ options: FineTuner.Options) throws {
    let options = try options.resolved(for: bundle)
    self.options = options
    self.bundle = bundle
    self.path = path
    let network = try ImageNetwork(
      bundle, output: options.output, seesPictures: options.loss?.measure != nil
    ).taking(dataAt: options.data)
    self.network = network
    warnings += network.warnings
    try Self.checkLoss(options, bundle, at: path)
    let requests = DataRequests(options, network, bundle.manifest)
    let found = try openDataset(at: options.data, for: requests.training)
    whole = found.dataset
    warnings += found.warnings
    let classes = try requests.classes(of: whole)
    warnings += classes.warnings
    let location = SourceLocation(file: path)
    let output = network.picture == nil ? options.output : network.output.name
    let sources = try at(location) {
      try bundle.manifest.programs.indices.map {
        try bundle.loadGraph(ofProgram: $0).keepingOutput(
          output, labels: bundle.manifest.labels?.count, auxiliary: options.auxiliary.map(\.name)
        ).widened()
      }
    }
    (self.sources, classCount) = (sources, classes.count)
    if try !Self.usesTeacher(options, sources[network.program]) { self.options.teacher = nil }
    let choices = self.options.trainingChoices
    let training = try at(location) {
      try FineTuningPlan(sources[network.program], classes: classes.count, options: choices)
    }
    self.training = training
    networks = try at(location) {
      try Self.networks(of: network, training: training) {
        try FineTuningPlan(sources[$0], classes: classes.count, options: choices)
      }
    }
    pruning = try at(location) {
      try options.prune.map {
        try Pruning($0, of: sources[network.program], options)
      }
    }
    warnings += pruning?.warnings(options) ?? []
    warnings += try bundle.loadGraph(ofProgram: network.program).warningsOfWidening
    warnings += training.warnings
    if let folder = options.validationData {
      let found = try openDataset(at: folder, for: requests.validation(like: whole))
      warnings += found.warnings
      validation = found.dataset
    } else {
      validation = nil
    }
    if self.options.distills, let choice = self.options.teacher {
      teacher = try TeacherNetwork(
        at: choice.bundle ?? path, output: choice.bundle == nil ? options.output : nil, of: whole,
        classCount: training.outputWidth)
    } else {
      teacher = nil
    }
    for dataset in [whole] + (validation.map { [$0] } ?? []) { try network.checkCanRead(dataset) }
    try checkPicture()
    try checkRandomViews()
  }

  /// Throws if the data are images with images, as the output is one, but the loss needs classes.
  private static func checkLoss(
    _ options: FineTuner.Options, _ bundle: ModelBundle, at path: String
  ) throws {
    guard let loss = options.loss, loss.measure == nil,
      bundle.givesPictures(from: options.output), PictureFolder.isPresent(at: options.data)
    else { return }
    throw GraftError(
      .invalidArgument,
      "--loss \(loss.rawValue) needs classes, but the bundle's output is an image (output in its preprocessing), and "
        + "\(options.data.quotedForDisplay) has inputs/ with targets/",
      at: SourceLocation(file: path),
      advice:
        "Leave out --loss, or use --loss mse, mae or charbonnier; with --loss \(loss.rawValue), give data with "
        + "classes.")
  }

  /// Whether the options of a teacher apply: the unpruned network only teaches classes of items.
  private static func usesTeacher(
    _ options: FineTuner.Options, _ network: Graph
  ) throws -> Bool {
    guard let teacher = options.teacher else { return false }
    return try teacher.bundle != nil || FineTuningPlan.takesTeacher(network)
  }

  /// The plan of the network without some channels.
  /// - Parameter trainer: a trainer with the weights of this plan; nil keeps the bundle's.
  func removing(_ cuts: [ChannelCut], trainedBy trainer: LoadedTrainer?) throws -> RunPlan {
    var own = self
    if let trainer {
      let tuned = try FineTuningPlan.weights(of: trainer, in: sources[network.program])
      own.sources = sources(withWeightsOf: tuned)
    }
    own.sources = try at(SourceLocation(file: path)) {
      try own.sources.map { try $0.removing(cuts) }
    }
    let (sources, classes, choices) = (own.sources, classCount, options.trainingChoices)
    own.training = try FineTuningPlan(
      sources[network.program], classes: classes, options: choices)
    own.networks = try Self.networks(of: network, training: own.training) {
      try FineTuningPlan(sources[$0], classes: classes, options: choices)
    }
    own.pruning?.rounds.append(cuts)
    return own
  }

  /// Throws if the output is an image, and would not be one of the same size with the new head.
  private func checkPicture() throws {
    guard network.picture != nil, training.outputWidth != network.outputWidth else { return }
    throw GraftError(
      .invalidArgument,
      "with --head \(options.head?.description ?? "linear") the output would not have the shape "
        + "\(network.output.shape) of an image", at: SourceLocation(file: path),
      advice: "Use --head keep.")
  }

  /// Throws if the data, the network or the teacher do not support the requested random views.
  private func checkRandomViews() throws {
    guard options.isRandom else { return }
    guard whole.holdsImages || options.augmentation.isNone else {
      throw GraftError(
        .invalidArgument, "--augment transforms images, but the data are tensors",
        at: SourceLocation(file: options.data))
    }
    guard options.mixing.cutmix == nil || training.task != .positions else {
      throw GraftError(
        .unsupported,
        "--cutmix needs one class per item, but the network has one for each position",
        at: SourceLocation(file: path), advice: "Use --mixup, or random views.")
    }
    guard options.mixing.cutmix == nil || network.pictureSize != nil else {
      throw GraftError(
        .invalidArgument, "--cutmix needs images, but the network's input is not an image",
        at: SourceLocation(file: path))
    }
    if options.mixing.mixup != nil,
      let input = network.inputs.first(where: { !$0.element.isFloatingPoint })
    {
      throw GraftError(
        .invalidArgument,
        "--mixup interpolates inputs, but the input \(input.name.quotedForDisplay) has an integer type "
          + "(\(input.element.rawValue))", at: SourceLocation(file: path),
        advice: "Use --cutmix, or random views.")
    }
    try teacher?.checkSees(theInputsOf: network)
  }

  /// The same run on a few items for two epochs, without outputs.
  func rehearsal() throws -> RunPlan {
    var own = self
    own.options = try options.forRehearsal()
    own.sampleSize = Int(
      (2.5 * Double(options.batchSize) / max(0.05, 1 - options.validationSplit)).rounded(.up))
    own.warnings = []
    return own
  }

  /// The items of a data set that are used; the classes are those of the whole data set.
  func sampled(_ dataset: any Dataset) -> any Dataset {
    sampleSize.map { DatasetSample($0, of: dataset) } ?? dataset
  }

  /// Items per step, at most the number of items.
  var batchSize: Int { min(options.batchSize, sampled(whole).count) }
}

extension RunPlan {
  /// The split into training and held-out items.
  /// - Parameter labels: the class of each item; empty if items have no class.
  func split(labels: [Int], count: Int) -> Split {
    guard validation == nil, options.validationSplit > 0 else {
      return Split(training: Array(0..<count), validation: [])
    }
    return Split(
      labels: labels, count: count, share: options.validationSplit, seed: options.seed)
  }

  /// Whether held-out items are read separately from training items.
  var readsHeldOutApart: Bool { options.isRandom || validation != nil }

  /// The rows that are stored of each item: the values at the freeze line, and targets of many values
  /// (``FineTuningPlan/targetWidth``). Pixels and the classes of positions are stored as bytes.
  func rowForms() throws -> [RowForm] {
    let coding = pixelCoding
    return try training.parts.cutWidths().map { RowForm(width: $0, coding: coding) }
      + (training.targetWidth.map { [RowForm(width: $0, coding: targetCoding)] } ?? [])
  }

  /// The code of the values at the freeze line if these are the pixels of images.
  private var pixelCoding: ByteCoding? {
    // Erased regions are zeros, which are no pixel's value.
    let storesErased = options.cacheViews != nil && options.augmentation.steps.contains(.erase)
    guard training.parts.cutNames == network.inputs.map(\.name), whole.holdsImages,
      validation?.holdsImages != false, !storesErased
    else { return nil }
    return bundle.manifest.preprocessing.map { Preprocessor($0).coder.coding }
  }

  /// The code of targets that are classes of positions or pixels.
  private var targetCoding: ByteCoding? {
    if training.task == .positions { return .numbers }
    let arePictures = whole is PictureFolder && (validation.map { $0 is PictureFolder } ?? true)
    return arePictures ? network.picture?.coder.coding : nil
  }

  /// The size of the data and of the caches.
  /// - Parameters:
  ///   - count: the number of items before the split.
  ///   - items: the number of training items.
  ///   - held: the number of held-out or separate validation items.
  func size(count: Int, items: Int, held: Int) throws -> RunSize {
    // Views are cached only for training items; without cached views, only held-out items are cached.
    let views = options.isRandom ? options.cacheViews ?? 0 : 1
    let rows = options.isRandom ? items : count
    return RunSize(
      count: count, items: items, held: held, read: count + (readsHeldOutApart ? held : 0),
      stores: (readsHeldOutApart ? [(held, held)] : []) + [(rows * views, count * views)],
      forms: try rowForms(),
      pictures: options.isRandom ? count : 0)
  }

  /// ``size(count:items:held:)`` of all data, if every item can be read.
  func size() throws -> RunSize {
    let count = whole.count
    let labels = (0..<count).compactMap { whole.label(of: $0) }
    let split = split(labels: labels.count == count ? labels : [], count: count)
    var size = try size(
      count: count, items: split.training.count,
      held: validation?.count ?? split.validation.count)
    size.decoding = largestPictures()
    return size
  }
}

extension RunPlan {
  /// Bytes for decoding one of the largest images on every thread at once, and the file of the largest.
  private func largestPictures() -> (bytes: Int, largest: String) {
    var found: [(bytes: Int, path: String)] = []
    for dataset in [whole] + (validation.map { [$0] } ?? []) where dataset.holdsImages {
      for index in 0..<dataset.count {
        let file = dataset.path(of: index)
        guard var bytes = Image.decodingByteCount(of: file) else { continue }
        let target = dataset.targetPath(of: index)
        if target != file { bytes += Image.decodingByteCount(of: target) ?? 0 }
        found.append((bytes, file))
      }
    }
    let largest = found.sorted { $0.bytes > $1.bytes }.prefix(max(1, options.threads))
    return (largest.reduce(0) { $0 + $1.bytes }, largest.first?.path ?? "")
  }
}

/// The size of a run's data and caches.
struct RunSize {
  /// The number of items before the split.
  var count: Int
  /// The numbers of training items, held-out items, and items read in total.
  var items: Int
  var held: Int
  var read: Int
  /// Rows of values at the freeze line: used rows and capacity of each store.
  var stores: [(rows: Int, capacity: Int)]
  /// The rows of an item.
  var forms: [RowForm]
  /// The number of images that random views are made from.
  var pictures: Int

  /// Bytes while every thread decodes one of the largest images, and the file of the largest; only determined
  /// before a run.
  var decoding = (bytes: 0, largest: "")

  /// Rows of all stores.
  var rows: Int { stores.reduce(0) { $0 + $1.rows } }

  /// Bytes of all rows.
  var cacheBytes: Int {
    stores.reduce(0) { $0 + FeatureStore.byteCount(items: $1.rows, forms: forms) }
  }

  /// Bytes of the rows in memory, if stores larger than `largest` use a file.
  func residentBytes(inMemory largest: Int) -> Int {
    stores.filter { FeatureStore.byteCount(items: $0.capacity, forms: forms) <= largest }
      .reduce(0) { $0 + FeatureStore.byteCount(items: $1.rows, forms: forms) }
  }
}
