// What operators say of their part in the update at the end of a training step. Passes, planning and code
// generation ask this, and name no operator.

import GraftIR

/// When an operator of the update runs.
public enum UpdateStage: Hashable, Sendable {
  /// In every micro-batch: running statistics, and gradients that add up.
  case everyMicroBatch
  /// Once an update, in the last of its micro-batches.
  case everyUpdate
}

/// An operator of the update at the end of a training step: new values of state, or their operands.
public protocol UpdateOperator: RealOperator {
  static var updateStage: UpdateStage { get }
}

/// An operator whose results are the new contents of state that it reads: it is the last to read the old
/// ones, and writes where they are.
public protocol StateUpdate: UpdateOperator {}

/// One step of an optimizer for one tensor, the first operand.
public protocol OptimizerUpdate: StateUpdate {
  /// The row of the hyperparameters.
  var group: Int { get }
}

extension OptimizerUpdate {
  public static var updateStage: UpdateStage { .everyUpdate }
}

extension Graph {
  /// Whether a training step adds its gradients to those of earlier micro-batches.
  public var accumulatesGradients: Bool {
    let group = TrainingInterface.StateRole.accumulator.group
    return parameters.contains { self[$0].parameter?.group == group }
  }
}
