// What decides the training step of a network. A fine-tuning run has more to choose, of which these follow; `graft
// compile --trainable` and `graft dump --stage training` choose them alone.

import GraftAutodiff

/// The optimizers, by their names on the command line.
public enum OptimizerName: String, Codable, Sendable, CaseIterable {
  case sgd, adam, adamw
}

/// The choices that a training step is made from.
public struct TrainingChoices: Sendable {
  public var unfreeze: Unfreezing
  public var head = HeadReplacement.linear
  public var normalization = TrainingSpecification.Normalization.frozen
  public var optimizer = OptimizerName.sgd
  public var loss = TrainingSpecification.Loss.crossEntropy
  /// Decides the first weights of a new head.
  public var seed: UInt64 = 0
  /// Whether the optimizer `sgd` keeps a momentum.
  public var hasMomentum = true
  public var isNesterov = false
  /// The factor on the learning rate from each layer to the one before it, counted from the head.
  public var layerDecay = 1.0
  /// The head's learning rate over that of the other layers.
  public var headRateFactor = 1.0
  /// Whether a teacher's soft targets are learned too.
  public var distills = false
  /// Whether gradients of several batches add up to one update.
  public var accumulates = false
  /// Whether gradients are clipped to a norm.
  public var clips = false
  /// Whether targets are smoothed or weighed by class.
  public var shapesTargets = false

  public init(unfreeze: Unfreezing) { self.unfreeze = unfreeze }
}
