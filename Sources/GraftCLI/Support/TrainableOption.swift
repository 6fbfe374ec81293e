// The options of `graft compile` that put a training step into a bundle.

import ArgumentParser
import Graft

/// `--trainable UNFREEZE` and the options that depend on it.
struct TrainableOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Add a training step to the bundle, which then needs no compiler to train. The value is the layers that "
        + "train in addition to the head: none, last:N, a scope such as layer4, or all. (default: no training step)",
      valueName: "unfreeze"))
  var trainable: String?

  @OptionGroup var choice: TrainingChoice

  @Option(
    help:
      "With --trainable, the random seed of the new head's initial weights, below 2^64. (default: 0)"
  )
  var seed: UInt64?

  func validate() throws {
    if trainable == nil, let other = choice.given ?? seed.map({ _ in "--seed" }) {
      throw ValidationError("\(other) applies only with --trainable")
    }
    _ = try asUsage { try parsed() }
  }

  /// - Throws: `GraftError` of kind `invalidArgument` for an invalid head or freeze line.
  func parsed() throws -> TrainableOptions? {
    guard let trainable else { return nil }
    var options = try choice.options(unfreezing: trainable)
    options.seed = seed ?? options.seed
    return options
  }
}
