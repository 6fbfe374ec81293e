// The interface of a training program: the names of its inputs and outputs, the roles of
// its state, the columns of its hyperparameters and settings. The graph of a step is built with it, its code
// is generated from it, and the C runtime has the same numbers in graft_train_interface.h, which a test
// compares with this file.

/// The interface of a training program.
public enum TrainingInterface {
  /// The inputs of a step after the network's inputs, in order.
  public enum Input: String, CaseIterable, Sendable {
    /// [N, C]; [N, P, C] for P positions with a class each; [N, C, 2] for multi-label classification; float32.
    case targets
    /// [N, C] or [N, P, C], the soft targets of a teacher; float32.
    case teacherTargets = "teacher_targets"
    /// [N], the weight of each item in a regression's loss; float32.
    case weights
    /// [groups, ``Hyperparameter`` columns], float32.
    case hyperparameters
    /// [``settingCount``], float32: see ``Setting``.
    case settings
    /// [``randomWordCount``], int32: the words that determine dropout masks.
    case random

    /// Whether the library writes it, and not its caller.
    public var isWrittenByLibrary: Bool {
      switch self {
      case .targets, .teacherTargets, .weights: false
      case .hyperparameters, .settings, .random: true
      }
    }

    /// The flag of graft_train.h for steps with this input; nil if every step has it.
    public var flag: String? {
      switch self {
      case .targets, .hyperparameters: nil
      case .teacherTargets: "GRAFT_TAKES_TEACHER_TARGETS"
      case .weights: "GRAFT_TAKES_IMAGE_WEIGHTS"
      case .settings: "GRAFT_TAKES_SETTINGS"
      case .random: "GRAFT_TAKES_RANDOM"
      }
    }
  }

  /// The outputs of a step other than new values of state, in order.
  public enum Output: String, CaseIterable, Sendable {
    /// [N], whose sum is the loss of the batch; float32.
    case loss
    /// [N, C] or [N, P, C], before the update; float32.
    case logits
  }

  /// What a tensor of the state is.
  public enum StateRole: String, Codable, CaseIterable, Sendable {
    /// Updated by the optimizer.
    case weight
    /// A running mean or variance.
    case statistic
    /// Momentum, or a moment of a weight's gradient.
    case optimizer
    /// A gradient summed over micro-batches.
    case accumulator

    /// The `Parameter.group` of such state; weights have the name of their group of hyperparameters.
    public var group: String? {
      switch self {
      case .weight: nil
      case .statistic: "statistics"
      case .optimizer: "optimizer"
      case .accumulator: "accumulator"
      }
    }

    /// The role of state whose `Parameter.group` is `group`.
    public init(group: String?) {
      self = Self.allCases.first { $0.group != nil && $0.group == group } ?? .weight
    }

    /// Whether it is part of the network, not only of training.
    public var isOfNetwork: Bool { self == .weight || self == .statistic }

    /// The constant of graft_train.h.
    public var constant: String {
      switch self {
      case .weight: "GRAFT_STATE_WEIGHT"
      case .statistic: "GRAFT_STATE_STATISTIC"
      case .optimizer: "GRAFT_STATE_OPTIMIZER"
      case .accumulator: "GRAFT_STATE_ACCUMULATOR"
      }
    }
  }

  /// The columns of a row of hyperparameters, one row for each group of weights.
  public enum Hyperparameter: Int, CaseIterable, Sendable {
    case learningRate
    case momentum
    case weightDecay
    case beta1
    case beta2
    case epsilon
    /// 1 − beta1ᵗ at step t, counted from 1.
    case biasCorrection1
    /// 1 − beta2ᵗ
    case biasCorrection2
  }

  /// The elements of the settings; unused ones are 0.
  public enum Setting: Int, CaseIterable, Sendable {
    /// The largest Euclidean norm of all gradients together; infinity for no limit.
    case clipNorm
    /// What the sum of the gradients before this micro-batch counts: 0 for the first of an update, else 1.
    case keptGradients
    /// What distillation divides logits by (Hinton et al. 2015).
    case temperature
  }

  /// What the name of an accumulator has after that of its weight.
  public static let gradientSuffix = "/gradient"

  public static let hyperparameterCount = Hyperparameter.allCases.count
  public static let settingCount = 8
  public static let randomWordCount = 4
}

public typealias Hyperparameter = TrainingInterface.Hyperparameter
