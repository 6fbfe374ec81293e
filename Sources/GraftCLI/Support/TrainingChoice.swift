// The choices of a training step that `graft compile --trainable` and `graft dump --stage training` share.

import ArgumentParser
import Graft
import GraftTraining

/// `--head`, `--classes`, `--bn`, `--optimizer`: absent ones take the command's defaults.
struct TrainingChoice: ParsableArguments {
  @Option(help: "The head that the training step trains: linear, mlp:K, or keep. (default: linear)")
  var head: String?

  @Option(help: "The number of classes of a new head.")
  var classes: Int?

  @Option(
    help: "BatchNorms of the layers that train: frozen or train. (default: frozen)",
    completion: .list(["frozen", "train"]))
  var bn: String?

  @Option(
    help: "The training step's optimizer: sgd, adam or adamw. (default: sgd)",
    completion: .list(["sgd", "adam", "adamw"]))
  var optimizer: String?

  /// The first option that was given.
  var given: String? {
    [
      ("--head", head != nil), ("--classes", classes != nil), ("--bn", bn != nil),
      ("--optimizer", optimizer != nil),
    ].first(where: \.1)?.0
  }

  func validate() throws {
    if let bn, FineTuner.Normalization(rawValue: bn) == nil {
      throw ValidationError("--bn takes no '\(bn)'; it is frozen or train")
    }
    if let optimizer, FineTuner.OptimizerName(rawValue: optimizer) == nil {
      throw ValidationError("--optimizer takes no '\(optimizer)'; it is sgd, adam or adamw")
    }
  }

  /// - Throws: `GraftError` of kind `invalidArgument` for a head or a freeze line that is none.
  func options(unfreezing text: String) throws -> TrainableOptions {
    var options = TrainableOptions(unfreeze: try FineTuner.Unfreeze(text))
    options.head = try head.map { try FineTuner.Head($0) } ?? options.head
    options.classes = classes
    options.normalization = bn.flatMap { .init(rawValue: $0) } ?? options.normalization
    options.optimizer = optimizer.flatMap { .init(rawValue: $0) } ?? options.optimizer
    return options
  }
}
