// Options of a fine-tuning run, with the defaults of the command line.

import Graft
import GraftAutodiff
import GraftCodegen
import GraftData
import GraftDiagnostics

extension FineTuner {
  /// How the head is replaced.
  public typealias Head = HeadReplacement
  /// The layers that train in addition to the head.
  public typealias Unfreeze = Unfreezing
  public typealias Normalization = TrainingSpecification.Normalization
  public typealias Augmentation = GraftData.Augmentation
  public typealias BatchMixing = GraftData.BatchMixing
  public typealias Loss = TrainingSpecification.Loss

  public typealias OptimizerName = Graft.OptimizerName

  /// The weights of the classes in the loss.
  public enum ClassWeights: String, Codable, Sendable, CaseIterable {
    /// All 1.
    case none
    /// Inversely proportional to the number of items of each class.
    case balanced
  }

  /// A network that is distilled: its class probabilities are additional targets (Hinton et al. 2015).
  public struct Teacher: Sendable {
    /// The path of a bundle; nil is the network of the run before it is pruned.
    public var bundle: String?
    /// The divisor of the logits of both networks before softmax; greater than 0.
    public var temperature: Double
    /// The weight of the teacher's term in the loss, 0 to 1.
    public var alpha: Double

    public init(bundle: String?, temperature: Double = 4, alpha: Double = 0.7) {
      self.bundle = bundle
      self.temperature = temperature
      self.alpha = alpha
    }
  }

  /// An output that is trained in addition, as the auxiliary classifiers of Inception (Szegedy et al. 2015).
  public struct Auxiliary: Sendable, Equatable {
    /// The name of the output.
    public var name: String
    /// The factor on its cross-entropy in the loss; greater than 0.
    public var weight: Double

    public init(_ name: String, weight: Double) { (self.name, self.weight) = (name, weight) }
  }

  /// The options of a run. ``FineTuningOption/all`` has their meanings, units and ranges.
  public struct Options: Sendable {
    public var data: String
    /// Nil holds ``validationSplit`` of ``data`` out.
    public var validationData: String?
    public var validationSplit = 0.2
    /// Nil takes the output that is an image, else the one that looks most like class scores.
    public var output: String?
    /// Other outputs whose losses are added to that of the output. The tuned network does not have them.
    public var auxiliary: [Auxiliary] = []
    /// Nil keeps the head of a network whose output is an image, unless it is trained for classes; else it is linear.
    public var head: HeadReplacement?
    public var unfreeze = Unfreezing.none
    public var normalization = TrainingSpecification.Normalization.frozen
    /// The share of the network's multiply-adds that is removed with channels, between 0 and 1; nil for none. The
    /// unpruned network is the teacher if ``teacher`` is nil; a weight of 0 trains without one.
    public var prune: Double?
    public var epochs = 10
    public var batchSize = 32
    public var optimizer = OptimizerName.sgd
    public var learningRate = 0.01
    /// Nil is ``learningRate``.
    public var headLearningRate: Double?
    public var layerDecay = 1.0
    public var momentum = 0.9
    public var isNesterov = false
    public var weightDecay = 0.0
    public var schedule = LearningRateSchedule(.cosine)
    /// Nil is the mean squared error for a network whose output is an image, else cross-entropy.
    public var loss: TrainingSpecification.Loss?
    public var labelSmoothing = 0.0
    public var classWeights = ClassWeights.none
    /// The maximum norm of all gradients together; nil for no limit.
    public var clipNorm: Double?
    public var accumulate = 1
    /// Applied to training images, never to validation data.
    public var augmentation = Augmentation.none
    public var mixing = BatchMixing()
    /// The number of cached views per image; nil makes new views in every epoch.
    public var cacheViews: Int?
    public var teacher: Teacher?
    /// Epochs without a better validation result after which the run stops; nil for never.
    public var earlyStop: Int?
    public var seed: UInt64 = 0
    public var threads = AvailableCores.count
    /// Bytes; nil for no limit. It decides what is kept in a file or recomputed; the trained weights do not
    /// depend on it.
    public var memoryLimit: Int?
    /// The folder of the checkpoint, kept after the run; nil for a folder next to the bundle that is removed
    /// after the run.
    public var checkpoint: String?
    /// Continue from the state in ``checkpoint``.
    public var resumes = false
    /// Remove an existing checkpoint in ``checkpoint`` instead of throwing an error.
    public var overwrites = false
    /// Paths of the records; nil writes them to the tuned bundle at the end of the run.
    public var metrics: String?
    /// The event file in this folder is extended after every epoch.
    public var tensorboard: String?
    public var report: String?
    public var target = CompilationTarget.native

    public init(data: String) { self.data = data }

    /// The options with the head and the loss that follow from the bundle.
    /// - Throws: ``GraftError`` of kind `invalidArgument` that names an option that cannot be used with these.
    func resolved(for bundle: ModelBundle) throws -> Self {
      var own = self
      let givesPictures = bundle.givesPictures(from: output)
      own.loss = loss ?? (givesPictures ? .meanSquaredError : .crossEntropy)
      let keepsHead = givesPictures && own.loss?.measure != nil || prune != nil
      own.head = head ?? (keepsHead ? .keep : .linear)
      if prune != nil, own.loss?.measure == nil, teacher == nil {
        own.teacher = Teacher(bundle: nil)
      }
      if target == .native { own.target = .native(for: bundle.manifest.precision) }
      try own.validate()
      return own
    }

    /// Whether a teacher's outputs are part of the loss; the unpruned network's are not with a weight of 0.
    var distills: Bool { teacher.map { $0.bundle != nil || $0.alpha > 0 } ?? false }

    /// Whether inputs differ between epochs.
    var isRandom: Bool { !augmentation.isNone || !mixing.isNone }

    /// The options on which the compiled training step depends.
    var trainingChoices: TrainingChoices {
      var choices = TrainingChoices(unfreeze: unfreeze)
      choices.head = head ?? .linear
      choices.normalization = normalization
      choices.optimizer = optimizer
      choices.loss = loss ?? .crossEntropy
      choices.seed = seed
      choices.hasMomentum = momentum > 0
      choices.isNesterov = isNesterov
      choices.layerDecay = layerDecay
      choices.headRateFactor = (headLearningRate ?? learningRate) / learningRate
      choices.distills = distills
      // Channels are judged by accumulated gradients.
      choices.accumulates = accumulate > 1 || prune != nil
      choices.clips = clipNorm != nil
      choices.auxiliaryWeights = auxiliary.map(\.weight)
      choices.shapesTargets = labelSmoothing != 0 || classWeights != .none
      return choices
    }
  }
}
