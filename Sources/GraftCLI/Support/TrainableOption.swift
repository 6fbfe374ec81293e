// The options of `graft compile` that put a training step into a bundle.

import ArgumentParser
import Graft

/// `--trainable UNFREEZE` and what belongs to it.
struct TrainableOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Add a training step that needs no compiler where it runs. What trains beside the head: none, "
        + "last:N, a scope such as layer4, or all.", valueName: "unfreeze"))
  var trainable: String?

  @OptionGroup var choice: TrainingChoice

  @Option(help: "With --trainable, decides the first weights of a new head. (default: 0)")
  var seed: UInt64?

  func validate() throws {
    if trainable == nil, let other = choice.given ?? seed.map({ _ in "--seed" }) {
      throw ValidationError("\(other) belongs to --trainable")
    }
    _ = try asUsage { try parsed() }
  }

  /// - Throws: `GraftError` of kind `invalidArgument` for a head or a freeze line that is none.
  func parsed() throws -> TrainableOptions? {
    guard let trainable else { return nil }
    var options = try choice.options(unfreezing: trainable)
    options.seed = seed ?? options.seed
    return options
  }
}
