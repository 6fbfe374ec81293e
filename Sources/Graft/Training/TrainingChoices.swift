// The options on which the training step of a network depends. A fine-tuning run derives them from its
// options; `graft compile --trainable` and `graft dump --stage training` set them directly.

import GraftAutodiff

/// The optimizers, with their names on the command line.
public enum OptimizerName: String, Codable, Sendable, CaseIterable {
  case sgd, adam, adamw
}

/// The options of a training step.
public struct TrainingChoices: Sendable {
  public var unfreeze: Unfreezing
  public var head = HeadReplacement.linear
  public var normalization = TrainingSpecification.Normalization.frozen
  public var optimizer = OptimizerName.sgd
  public var loss = TrainingSpecification.Loss.crossEntropy
  /// The random seed of a new head's initial weights.
  public var seed: UInt64 = 0
  /// Whether the optimizer `sgd` uses momentum.
  public var hasMomentum = true
  public var isNesterov = false
  /// The ratio of a layer's learning rate to that of the next layer, starting at the head; above 0, at most
  /// 1.
  public var layerDecay = 1.0
  /// The ratio of the head's learning rate to that of the other layers.
  public var headRateFactor = 1.0
  /// Whether a teacher's soft targets are part of the loss.
  public var distills = false
  /// Whether gradients of several batches are accumulated for one update.
  public var accumulates = false
  /// Whether gradients are clipped to a norm.
  public var clips = false
  /// The weights in the loss of the outputs after the first.
  public var auxiliaryWeights: [Double] = []
  /// Whether targets are smoothed or weighted by class.
  public var shapesTargets = false

  public init(unfreeze: Unfreezing) { self.unfreeze = unfreeze }
}
