// What a training step is to do: loss, optimizer, what trains in which group.

import GraftIR

/// What is generated into a training step. Numbers such as rates are given when it runs.
public struct TrainingSpecification: Hashable, Sendable {
  public enum Loss: String, Hashable, Sendable, CaseIterable {
    case crossEntropy = "cross-entropy"
    /// The loss of each class by itself, since any number of them may be right; targets are [batch, classes,
    /// 2]: the weight of the class being absent, then of its being present.
    case binaryCrossEntropy = "binary-cross-entropy"
    case meanSquaredError = "mse"
  }

  public enum Optimizer: Hashable, Sendable {
    /// Stochastic gradient descent; Nesterov's variant needs momentum.
    case sgd(hasMomentum: Bool, isNesterov: Bool)
    case adam(isDecoupled: Bool)
  }

  /// Which statistics a BatchNorm of the tail normalizes with.
  public enum Normalization: String, Hashable, Sendable, CaseIterable {
    /// The stored ones, which stay.
    case frozen
    /// The batch's own, which move the stored ones.
    case train
  }

  public var loss: Loss
  public var optimizer: Optimizer
  public var normalization: Normalization
  /// Whether a teacher's targets are learnt too (Hinton et al. 2015).
  public var distills: Bool
  /// Whether the gradients of several calls may add up before an update.
  public var accumulates: Bool
  /// Whether gradients may be clipped by their global norm.
  public var clips: Bool
  /// The parameters that train, by name, with the index of their group.
  public var groups: [String: Int]
  /// The names of the groups, in the order of the rows of the hyperparameters.
  public var groupNames: [String]
  /// The fraction of the batch's statistics in the running ones.
  public var statisticsMomentum: Double

  public init(
    loss: Loss = .crossEntropy,
    optimizer: Optimizer = .sgd(hasMomentum: true, isNesterov: false),
    normalization: Normalization = .frozen, distills: Bool = false, accumulates: Bool = false,
    clips: Bool = false, groups: [String: Int], groupNames: [String],
    statisticsMomentum: Double = 0.1
  ) {
    self.loss = loss
    self.optimizer = optimizer
    self.normalization = normalization
    self.distills = distills
    self.accumulates = accumulates
    self.clips = clips
    self.groups = groups
    self.groupNames = groupNames
    self.statisticsMomentum = statisticsMomentum
  }
}
