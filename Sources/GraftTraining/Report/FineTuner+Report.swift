// The report of a finished run: evaluation, images and heat maps of the worst mistakes (from the tuned
// network's library), settings, the command.

import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftIR

/// A report without images, which need the tuned network's library. It outlives the trainer and the data.
struct ReportDraft {
  fileprivate var page: RunReport
  fileprivate var images: any Dataset
  /// The indices in ``images`` of the mistakes, or of the worst segmentations or images.
  fileprivate var places: [Int]
  fileprivate var inputs: [TensorSpecification]
  /// The number of the program that was trained.
  fileprivate var program: Int
  fileprivate var preprocessing: Preprocessing?
  fileprivate var classCount: Int
  /// The size of the network's map of classes, if it gives one.
  fileprivate var mapSize: (height: Int, width: Int)?
  fileprivate var threads: Int

  /// The page with images.
  /// - Parameters:
  ///   - network: the tuned graph, whose library is in `folder`.
  func html(network: Graph, in folder: String) throws -> String {
    var page = page
    if let mapSize, let preprocessing, images.holdsImages {
      page.segmentation?.addPictures(
        of: images, places: places, preprocessing: preprocessing, mapSize: mapSize)
    }
    if let preprocessing, images.holdsImages {
      page.pictures?.addPictures(of: images, places: places, preprocessing: preprocessing)
    }
    guard !page.mistakes.isEmpty, images.holdsImages,
      // Errors of images must not fail the run.
      let pictures = try? MistakeImages(
        of: network, in: folder, program: program, inputs: inputs, preprocessing: preprocessing,
        classCount: classCount, threads: threads)
    else { return try page.html() }
    page.featureMap = pictures.featureMap
    for (index, place) in zip(page.mistakes.indices, places) {
      // An image that has become unreadable must not fail the run.
      guard case .image(let image)? = (try? images.sample(at: place))?.content else { continue }
      page.mistakes[index].pictures = try? pictures.pair(
        of: image, predicted: page.mistakes[index].predicted,
        withHeat: index < pictures.heatLimit)
    }
    return try page.html()
  }
}

extension Warning {
  /// The file and the message.
  fileprivate var sentence: String {
    (location.file.map { "\($0.escapedForDisplay): " } ?? "") + message
  }
}

extension FineTuner {
  /// Evaluates the network of a finished run.
  /// - Parameter run: a run whose trainer has the final state.
  func draftReport(
    on run: TrainingRun, _ ready: Preparation, _ plan: RunPlan, _ pruned: Manifest.Pruning?,
    to output: String
  ) throws -> ReportDraft {
    let findings = try findings(ready)
    let mistakes = findings?.mistakes ?? []
    let segmentation = try segmentation(ready)
    let pictures = try pictures(ready, plan)
    let judged = ready.validation?.data ?? ready.data
    return ReportDraft(
      page: RunReport(
        output: output, epochs: run.history, kept: run.bestEpoch, findings: findings,
        segmentation: segmentation, pictures: pictures,
        labels: ready.classes.isEmpty ? bundle.manifest.labels ?? [] : ready.classes,
        mistakes: mistakes.map {
          RunReport.Mistake(
            file: $0.name, label: $0.label, predicted: $0.predicted, confidence: $0.confidence,
            ownProbability: $0.ownProbability)
        },
        pruning: pruned, leftOut: warnings.map(\.sentence), settings: settings(ready, plan.options),
        command: options.command(bundle: path, output: output)),
      images: ready.validationSet,
      places: (segmentation?.worst.map(\.item) ?? pictures?.worst.map(\.item)
        ?? mistakes.map(\.item)).map { judged.places[$0] },
      inputs: plan.network.inputs, program: plan.network.program,
      preprocessing: bundle.manifest.preprocessing,
      classCount: ready.plan.outputWidth, mapSize: plan.network.mapSize, threads: options.threads)
  }

  /// The items that a report judges: the held-out ones, else the training items if their values are cached.
  private func judged(_ ready: Preparation) -> (data: TrainingData, items: [Int], isHeldOut: Bool)?
  {
    if let validation = ready.validation { return (validation.data, validation.items, true) }
    return options.isRandom ? nil : (ready.data, ready.items, false)
  }

  /// Nil if no position has a class of its own, and if there are neither held-out items nor cached features.
  private func segmentation(_ ready: Preparation) throws -> SegmentationFindings? {
    guard ready.plan.task == .positions, let judged = judged(ready) else { return nil }
    return try SegmentationFindings(
      ready.trainer, on: judged.data, judged.items, isHeldOut: judged.isHeldOut,
      classCount: ready.plan.outputWidth, batchSize: ready.batchSize)
  }

  /// Nil if the output is no image or the data have none, and if there are neither held-out items nor cached features.
  private func pictures(_ ready: Preparation, _ plan: RunPlan) throws -> PictureFindings? {
    guard let picture = plan.network.picture, ready.validationSet.holdsImages,
      let judged = judged(ready)
    else { return nil }
    return try PictureFindings(
      ready.trainer, on: judged.data, judged.items, isHeldOut: judged.isHeldOut, picture,
      batchSize: ready.batchSize)
  }

  /// Nil for a regression, and if there are neither held-out items nor cached features.
  private func findings(_ ready: Preparation) throws -> Findings? {
    guard ready.plan.task == .classes, let judged = judged(ready) else { return nil }
    return try Findings(
      ready.trainer, on: judged.data, judged.items, isHeldOut: judged.isHeldOut,
      batchSize: ready.batchSize)
  }

  /// The most important settings of the run.
  private func settings(
    _ ready: Preparation, _ options: Options
  ) -> [(name: String, value: String)] {
    let plan = ready.plan
    var rate = "\(options.optimizer.rawValue), learning rate \(options.learningRate)"
    if let head = options.headLearningRate { rate += " (head \(head))" }
    if options.optimizer == .sgd {
      rate += ", momentum \(options.momentum)\(options.isNesterov ? " (Nesterov)" : "")"
    }
    if options.weightDecay > 0 { rate += ", weight decay \(options.weightDecay)" }
    var schedule = options.schedule.name
    if options.schedule.warmup > 0 { schedule += ", \(options.schedule.warmup) epochs of warmup" }
    return [
      ("network", path), ("data", "\(options.data): \(ready.items.count) training items"),
      ("validation", validation(ready)),
      ("head", options.trainingChoices.head.description),
      ("unfrozen layers", "\(options.unfreeze)"),
      ("what trains", plan.summary), ("number format", numberFormat),
      ("BatchNorm", options.normalization.rawValue),
      ("augmentation", augmentation), ("epochs", epochs),
      ("optimizer", rate), ("schedule", schedule),
      (
        "batch", "\(options.batchSize)" + (options.accumulate > 1 ? " × \(options.accumulate)" : "")
      ),
      ("loss", loss(ready.plan, options)), ("seed", "\(options.seed)"),
    ]
  }

  private func validation(_ ready: Preparation) -> String {
    guard let count = ready.validation?.items.count else { return "none" }
    if let folder = options.validationData { return "\(folder): \(count) items" }
    let share = "\(Int((100 * options.validationSplit).rounded())) %"
    return "\(count) items, \(share)" + (ready.data.labels.isEmpty ? "" : " of each class")
  }

  private var numberFormat: String {
    let precision = bundle.manifest.precision
    return precision == .float32
      ? "float32"
      : "\(precision.rawValue) in the frozen layers and in the bundle, float32 in training"
  }

  private var augmentation: String {
    var parts = options.augmentation.isNone ? [] : ["\(options.augmentation)"]
    if let alpha = options.mixing.mixup { parts.append("mixup \(alpha)") }
    if let alpha = options.mixing.cutmix { parts.append("CutMix \(alpha)") }
    if let count = options.cacheViews { parts.append("\(count) cached views per image") }
    return parts.isEmpty ? "none" : parts.joined(separator: ", ")
  }

  private var epochs: String {
    "\(options.epochs)"
      + (options.earlyStop.map {
        ", early stop after \($0) epochs without a better validation result"
      }
        ?? "")
  }

  private func loss(_ plan: FineTuningPlan, _ options: Options) -> String {
    var parts = [plan.specification.loss.rawValue]
    if options.labelSmoothing > 0 { parts.append("label smoothing \(options.labelSmoothing)") }
    if options.classWeights != .none { parts.append("class weights \(options.classWeights)") }
    if !options.auxiliary.isEmpty {
      parts.append("auxiliary outputs \(FineTuningOption.text(of: options.auxiliary))")
    }
    if options.distills, let teacher = options.teacher {
      parts.append(
        "teacher \(teacher.bundle ?? "the unpruned network") with weight \(teacher.alpha) in the loss at temperature "
          + "\(teacher.temperature)")
    }
    if let norm = options.clipNorm { parts.append("gradients clipped to norm \(norm)") }
    return parts.joined(separator: ", ")
  }
}
