// What can be chosen of a fine-tuning run, with the defaults of the command line.

import GraftAutodiff
import GraftCodegen
import GraftData
import GraftDiagnostics

extension FineTuner {
  /// What becomes of the head.
  public typealias Head = HeadReplacement
  /// What of the network trains beside the head.
  public typealias Unfreeze = Unfreezing
  public typealias Normalization = TrainingSpecification.Normalization
  public typealias Augmentation = GraftData.Augmentation
  public typealias BatchMixing = GraftData.BatchMixing
  public typealias Loss = TrainingSpecification.Loss

  /// The optimizers, by their names on the command line.
  public enum OptimizerName: String, Codable, Sendable, CaseIterable {
    case sgd, adam, adamw
  }

  /// How classes weigh in the loss.
  public enum ClassWeights: String, Codable, Sendable, CaseIterable {
    case none
    /// In inverse proportion to how many items each has.
    case balanced
  }

  /// A teacher whose answers are learnt too (Hinton et al. 2015).
  public struct Teacher: Sendable {
    /// The path of a bundle.
    public var bundle: String
    public var temperature: Double
    /// The share of the teacher in the loss.
    public var alpha: Double

    public init(bundle: String, temperature: Double = 4, alpha: Double = 0.7) {
      self.bundle = bundle
      self.temperature = temperature
      self.alpha = alpha
    }
  }

  /// What can be chosen.
  public struct Options: Sendable {
    /// A folder of class folders, of CIFAR-10's batches, or of tensors.
    public var data: String
    /// Validation data of its own; otherwise ``validationSplit`` of ``data`` is held out.
    public var validationData: String?
    /// The share of the data that is held out; 0 holds nothing out.
    public var validationSplit = 0.2
    /// Of several outputs the one with the classes; nil takes the one that looks most like it.
    public var output: String?
    public var head = HeadReplacement.linear
    public var unfreeze = Unfreezing.none
    public var normalization = TrainingSpecification.Normalization.frozen
    public var epochs = 10
    public var batchSize = 32
    public var optimizer = OptimizerName.sgd
    public var learningRate = 0.01
    /// The new head's; nil is ``learningRate``.
    public var headLearningRate: Double?
    /// The factor on the learning rate from each layer to the one before it, counted from the head.
    public var layerDecay = 1.0
    public var momentum = 0.9
    public var isNesterov = false
    public var weightDecay = 0.0
    public var schedule = LearningRateSchedule(.cosine)
    public var loss = TrainingSpecification.Loss.crossEntropy
    public var labelSmoothing = 0.0
    public var classWeights = ClassWeights.none
    /// The largest norm of all gradients together; nil for no limit.
    public var clipNorm: Double?
    /// Batches whose gradients add up to one update.
    public var accumulate = 1
    /// Random changes of training pictures, never of validation data.
    public var augmentation = Augmentation.none
    /// How the pictures of a batch are mixed.
    public var mixing = BatchMixing()
    /// How many random views of each picture are made and kept; nil makes every epoch's anew.
    public var cacheViews: Int?
    public var teacher: Teacher?
    /// Epochs without a better validation result after which the run ends; nil for never.
    public var earlyStop: Int?
    public var seed: UInt64 = 0
    public var threads = AvailableCores.count
    /// Bytes that the process may have resident; nil for no limit. Decides what is kept in a file or made
    /// again, never a bit of what is learnt.
    public var memoryLimit: Int?
    /// Where the state is kept after every epoch; nil keeps none.
    public var checkpoint: String?
    /// Go on from ``checkpoint``.
    public var resumes = false
    /// Remove what an earlier run left in ``checkpoint`` instead of refusing to begin.
    public var overwrites = false
    /// The file that gets a JSON line for every epoch; nil puts it into the tuned bundle when the run is
    /// done. So it is for the next two.
    public var metrics: String?
    /// The folder that gets an event file of TensorBoard's, which grows with every epoch.
    public var tensorboard: String?
    /// The file of the HTML report.
    public var report: String?
    public var target = CompilationTarget.native

    public init(data: String) { self.data = data }

    /// Whether epochs see other numbers each.
    var isRandom: Bool { !augmentation.isNone || !mixing.isNone }

    /// - Throws: ``GraftError`` of kind `invalidArgument` that names the option.
    func validate() throws {
      func require(_ holds: Bool, _ message: String) throws {
        guard holds else { throw GraftError(.invalidArgument, message) }
      }
      try require(
        learningRate > 0 && learningRate.isFinite,
        "the learning rate must be greater than 0, found \(learningRate)")
      if let headLearningRate {
        try require(
          headLearningRate > 0 && headLearningRate.isFinite,
          "the head's learning rate must be greater than 0, found \(headLearningRate)")
      }
      try require(
        layerDecay > 0 && layerDecay <= 1,
        "the layer decay must be greater than 0 and at most 1, found \(layerDecay)")
      try require(
        (1...100_000).contains(epochs), "epochs must be from 1 to 100000, found \(epochs)")
      try require(
        (1...65_536).contains(batchSize), "the batch must be from 1 to 65536, found \(batchSize)")
      try require(
        (0..<1).contains(validationSplit),
        "the validation split must be at least 0 and below 1, found \(validationSplit)")
      try require((0..<1).contains(momentum), "momentum must be in 0..<1, found \(momentum)")
      try require(
        !isNesterov || (momentum > 0 && optimizer == .sgd), "Nesterov's variant needs momentum")
      try require(
        weightDecay >= 0 && weightDecay.isFinite,
        "weight decay must not be negative, found \(weightDecay)")
      try require(
        (0..<1).contains(labelSmoothing),
        "label smoothing must be in 0..<1, found \(labelSmoothing)"
      )
      try require(
        loss != .meanSquaredError
          || (labelSmoothing == 0 && classWeights == .none && teacher == nil),
        "label smoothing, class weights and a teacher belong to cross-entropy")
      if let clipNorm {
        try require(clipNorm > 0, "the norm to clip to must be greater than 0, found \(clipNorm)")
      }
      try require(
        (1...4096).contains(accumulate), "accumulate must be from 1 to 4096, found \(accumulate)")
      for (name, alpha) in [("mixup", mixing.mixup), ("cutmix", mixing.cutmix)] {
        guard let alpha else { continue }
        try require(
          alpha > 0 && alpha <= 1000,
          "\(name) must be greater than 0 and at most 1000, found \(alpha)")
        try require(loss != .meanSquaredError, "\(name) mixes classes, it belongs to cross-entropy")
        try require(
          cacheViews == nil,
          "\(name) mixes pictures before the frozen layers, anew in every batch: there is nothing to keep with "
            + "--cache-views")
      }
      if let cacheViews {
        try require(
          (1...10_000).contains(cacheViews),
          "cache-views must be from 1 to 10000, found \(cacheViews)")
        try require(
          !augmentation.isNone, "cache-views keeps random views, and --augment makes none")
      }
      if let teacher {
        try require(
          teacher.temperature > 0 && teacher.temperature.isFinite
            && (0...1).contains(teacher.alpha),
          "a temperature must be greater than 0 and alpha in 0...1, found \(teacher.temperature) and "
            + "\(teacher.alpha)")
      }
      if let memoryLimit {
        try require(
          memoryLimit > 0, "the memory limit must be greater than 0, found \(memoryLimit)")
      }
      if let earlyStop { try require(earlyStop >= 1, "early stop must be at least 1 epoch") }
    }
  }
}
