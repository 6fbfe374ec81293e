// What a run is going to do, found out before it does any of it: the network and what of it trains, the data that
// there are, the teacher. A run, its rehearsal and its forecast are made from one plan.

import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR

/// A run that is planned: all that can be refused without computing has been looked at.
struct RunPlan {
  var options: FineTuner.Options
  let bundle: ModelBundle
  /// The bundle's folder.
  let path: String
  let network: PictureNetwork
  /// The network taken apart, and its training step.
  let training: FineTuningPlan
  /// All of the data, and validation data of their own.
  let whole: any Dataset
  let validation: (any Dataset)?
  let teacher: TeacherNetwork?
  /// What is to be told before the run begins: files that are left out of the data, what the network ends in.
  private(set) var warnings: [Warning] = []
  /// For rehearsals: how many of the data's items are used; nil uses all.
  private(set) var sampleSize: Int?

  /// - Throws: ``GraftError`` naming the file, the node or the option.
  init(_ bundle: ModelBundle, at path: String, _ options: FineTuner.Options) throws {
    self.options = options
    self.bundle = bundle
    self.path = path
    network = try PictureNetwork(bundle, output: options.output)
    warnings += network.warnings
    let requests = DataRequests(options, network, bundle.manifest)
    let found = try openDataset(at: options.data, for: requests.training)
    whole = found.dataset
    warnings += found.warnings
    let classes = try requests.classes(of: whole)
    warnings += classes.warnings
    let location = SourceLocation(file: path)
    let graph = try at(location) {
      try bundle.loadGraph().keepingOutput(
        options.output, labels: bundle.manifest.labels?.count
      ).widened()
    }
    training = try at(location) {
      try FineTuningPlan(
        graph, classes: classes.count, options: options.trainingChoices)
    }
    warnings += training.warnings
    if let folder = options.validationData {
      let found = try openDataset(at: folder, for: requests.validation(like: whole))
      warnings += found.warnings
      validation = found.dataset
    } else {
      validation = nil
    }
    if let choice = options.teacher {
      teacher = try TeacherNetwork(choice, of: whole, classCount: training.outputWidth)
    } else {
      teacher = nil
    }
    for dataset in [whole] + (validation.map { [$0] } ?? []) { try network.checkCanRead(dataset) }
    try checkRandomViews()
  }

  /// Refuses random views that these data, this network or this teacher cannot have.
  private func checkRandomViews() throws {
    guard options.isRandom else { return }
    guard whole.holdsImages || options.augmentation.isNone else {
      throw GraftError(
        .invalidArgument, "--augment transforms images, but the data are tensors",
        at: SourceLocation(file: options.data))
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

  /// The same run on a few items, two epochs long, which writes nothing of its own.
  func rehearsal() throws -> RunPlan {
    var own = self
    own.options = try options.forRehearsal()
    own.sampleSize = Int(
      (2.5 * Double(options.batchSize) / max(0.05, 1 - options.validationSplit)).rounded(.up))
    own.warnings = []
    return own
  }

  /// The items that are used of a data set. What classes there are the whole says.
  func sampled(_ dataset: any Dataset) -> any Dataset {
    sampleSize.map { DatasetSample($0, of: dataset) } ?? dataset
  }

  /// Items of a step: no more than there are.
  var batchSize: Int { min(options.batchSize, sampled(whole).count) }
}

extension RunPlan {
  /// Which items are learned from and which are held out of them.
  /// - Parameter labels: the class of each item; empty where items have none.
  func split(labels: [Int], count: Int) -> Split {
    guard validation == nil, options.validationSplit > 0 else {
      return Split(training: Array(0..<count), validation: [])
    }
    return Split(
      labels: labels, count: count, share: options.validationSplit, seed: options.seed)
  }

  /// Whether held out items are read by themselves, apart from those that are learned from.
  var readsHeldOutApart: Bool { options.isRandom || validation != nil }

  /// How much data there is, and what would be kept of it.
  /// - Parameters:
  ///   - count: items of the data, before any are held out.
  ///   - items: those that are learned from.
  ///   - held: those that are held out, or are validation data of their own.
  func size(count: Int, items: Int, held: Int) throws -> RunSize {
    // Views are kept of what is learned from alone; without keeping, only held out items are.
    let views = options.isRandom ? options.cacheViews ?? 0 : 1
    let rows = options.isRandom ? items : count
    return RunSize(
      count: count, items: items, held: held, read: count + (readsHeldOutApart ? held : 0),
      stores: (readsHeldOutApart ? [(held, held)] : []) + [(rows * views, count * views)],
      widths: try training.parts.cutWidths(), pictures: options.isRandom ? count : 0)
  }

  /// ``size(count:items:held:)`` of all data, if every item can be read.
  func size() throws -> RunSize {
    let count = whole.count
    let labels = (0..<count).compactMap { whole.label(of: $0) }
    let split = split(labels: labels.count == count ? labels : [], count: count)
    return try size(
      count: count, items: split.training.count,
      held: validation?.count ?? split.validation.count)
  }
}

extension RunPlan {
  /// Bytes that as many of the data's largest pictures take to decode as there are threads, and the largest's file.
  func largestPictures() -> (bytes: Int, largest: String) {
    var found: [(bytes: Int, path: String)] = []
    for dataset in [whole] + (validation.map { [$0] } ?? []) where dataset.holdsImages {
      for index in 0..<dataset.count {
        let file = dataset.path(of: index)
        if let bytes = Image.decodingByteCount(of: file) { found.append((bytes, file)) }
      }
    }
    let largest = found.sorted { $0.bytes > $1.bytes }.prefix(max(1, options.threads))
    return (largest.reduce(0) { $0 + $1.bytes }, largest.first?.path ?? "")
  }
}

/// How much data a run has, and what it would keep of them.
struct RunSize {
  /// Items of the data, before any are held out.
  var count: Int
  /// Items that are learned from, held out, and read in all.
  var items: Int
  var held: Int
  var read: Int
  /// Rows of values at the freeze line: of each store those that are filled and those there is room for.
  var stores: [(rows: Int, capacity: Int)]
  /// Floats of a row.
  var widths: [Int]
  /// Pictures that random views are made from.
  var pictures: Int

  /// Bytes that the largest pictures take while every thread decodes one, and the largest of them; looked for only
  /// where there is a limit.
  var decoding = (bytes: 0, largest: "")

  /// Rows of all stores.
  var rows: Int { stores.reduce(0) { $0 + $1.rows } }

  /// Bytes of all rows.
  var cacheBytes: Int {
    stores.reduce(0) { $0 + FeatureStore.byteCount(items: $1.rows, widths: widths) }
  }

  /// Bytes of the rows that are in memory, where more than `largest` goes into a file.
  func residentBytes(inMemory largest: Int) -> Int {
    stores.filter { FeatureStore.byteCount(items: $0.capacity, widths: widths) <= largest }
      .reduce(0) { $0 + FeatureStore.byteCount(items: $1.rows, widths: widths) }
  }
}
