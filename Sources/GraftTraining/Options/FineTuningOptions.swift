// What can be chosen of a fine-tuning run, with the defaults of the command line.

import Graft
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

  public typealias OptimizerName = Graft.OptimizerName

  /// How classes weigh in the loss.
  public enum ClassWeights: String, Codable, Sendable, CaseIterable {
    case none
    /// In inverse proportion to how many items each has.
    case balanced
  }

  /// A network whose class probabilities are learned too (Hinton et al. 2015).
  public struct Teacher: Sendable {
    /// The path of a bundle.
    public var bundle: String
    /// What the logits of both networks are divided by before softmax.
    public var temperature: Double
    /// The share of the teacher in the loss.
    public var alpha: Double

    public init(bundle: String, temperature: Double = 4, alpha: Double = 0.7) {
      self.bundle = bundle
      self.temperature = temperature
      self.alpha = alpha
    }
  }

  /// What can be chosen. What each option means, its unit and its range stand in ``FineTuningOption/all``.
  public struct Options: Sendable {
    public var data: String
    /// Nil holds ``validationSplit`` of ``data`` out.
    public var validationData: String?
    public var validationSplit = 0.2
    /// Nil takes the output that looks most like classes.
    public var output: String?
    public var head = HeadReplacement.linear
    public var unfreeze = Unfreezing.none
    public var normalization = TrainingSpecification.Normalization.frozen
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
    public var loss = TrainingSpecification.Loss.crossEntropy
    public var labelSmoothing = 0.0
    public var classWeights = ClassWeights.none
    /// Nil for no limit.
    public var clipNorm: Double?
    public var accumulate = 1
    /// Applied to training pictures, never to validation data.
    public var augmentation = Augmentation.none
    public var mixing = BatchMixing()
    /// Nil makes new views in every epoch.
    public var cacheViews: Int?
    public var teacher: Teacher?
    /// Nil for never.
    public var earlyStop: Int?
    public var seed: UInt64 = 0
    public var threads = AvailableCores.count
    /// Bytes; nil for no limit. Decides what is kept in a file or recomputed, never a bit of what is learned.
    public var memoryLimit: Int?
    /// Where the state is kept after every epoch, also when the run is done; nil keeps it beside the bundle
    /// until then.
    public var checkpoint: String?
    /// Go on from the state in ``checkpoint``.
    public var resumes = false
    /// Remove what an earlier run left in ``checkpoint`` instead of refusing to begin.
    public var overwrites = false
    /// Nil puts it into the tuned bundle when the run is done. So it is for the next two.
    public var metrics: String?
    /// Grows with every epoch.
    public var tensorboard: String?
    public var report: String?
    public var target = CompilationTarget.native

    public init(data: String) { self.data = data }

    /// Whether epochs see other numbers each.
    var isRandom: Bool { !augmentation.isNone || !mixing.isNone }

    /// What decides the training step.
    var trainingChoices: TrainingChoices {
      var choices = TrainingChoices(unfreeze: unfreeze)
      choices.head = head
      choices.normalization = normalization
      choices.optimizer = optimizer
      choices.loss = loss
      choices.seed = seed
      choices.hasMomentum = momentum > 0
      choices.isNesterov = isNesterov
      choices.layerDecay = layerDecay
      choices.headRateFactor = (headLearningRate ?? learningRate) / learningRate
      choices.distills = teacher != nil
      choices.accumulates = accumulate > 1
      choices.clips = clipNorm != nil
      choices.shapesTargets = labelSmoothing != 0 || classWeights != .none
      return choices
    }
  }
}
