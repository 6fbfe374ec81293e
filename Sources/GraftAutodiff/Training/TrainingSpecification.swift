// The specification of a training step: loss, optimizer, parameter groups.

import GraftIR
import GraftOps

/// The compile-time options of a training step. Hyperparameters such as learning rates are passed at run
/// time.
public struct TrainingSpecification: Hashable, Sendable {
  public enum Loss: String, Hashable, Sendable, CaseIterable {
    case crossEntropy = "cross-entropy"
    /// Binary cross-entropy per class for multi-label classification; targets are [batch, classes, 2]: the
    /// weights of the class being absent and present.
    case binaryCrossEntropy = "binary-cross-entropy"
    case meanSquaredError = "mse"
    case meanAbsoluteError = "mae"
    /// The mean of √(d² + 10⁻⁶).
    case charbonnier

    /// How it measures the errors of a regression; nil for losses of classes.
    public var measure: ErrorMeasure? {
      switch self {
      case .crossEntropy, .binaryCrossEntropy: nil
      case .meanSquaredError: .squared
      case .meanAbsoluteError: .absolute
      case .charbonnier: .charbonnier
      }
    }
  }

  public enum Optimizer: Hashable, Sendable {
    /// Stochastic gradient descent; Nesterov's variant needs momentum.
    case sgd(hasMomentum: Bool, isNesterov: Bool)
    case adam(isDecoupled: Bool)
  }

  /// Which statistics a BatchNorm of the tail normalizes with.
  public enum Normalization: String, Hashable, Sendable, CaseIterable {
    /// The stored ones, which do not change.
    case frozen
    /// Those of the batch, which update the stored ones.
    case train
  }

  public var loss: Loss
  public var optimizer: Optimizer
  public var normalization: Normalization
  /// Whether the loss includes a teacher's targets (Hinton et al. 2015).
  public var distills: Bool
  /// Whether gradients can be accumulated over several calls.
  public var accumulates: Bool
  /// Whether gradients can be clipped by their global norm.
  public var clips: Bool
  /// The weights in the loss of the cross-entropies of the outputs after the first.
  public var auxiliaryWeights: [Double]
  /// The parameters that train, by name, with the index of their group.
  public var groups: [String: Int]
  /// The names of the groups, in the order of the rows of the hyperparameters.
  public var groupNames: [String]

  public init(
    loss: Loss = .crossEntropy,
    optimizer: Optimizer = .sgd(hasMomentum: true, isNesterov: false),
    normalization: Normalization = .frozen, distills: Bool = false, accumulates: Bool = false,
    clips: Bool = false, auxiliaryWeights: [Double] = [], groups: [String: Int],
    groupNames: [String]
  ) {
    self.loss = loss
    self.optimizer = optimizer
    self.normalization = normalization
    self.distills = distills
    self.accumulates = accumulates
    self.clips = clips
    self.auxiliaryWeights = auxiliaryWeights
    self.groups = groups
    self.groupNames = groupNames
  }
}
