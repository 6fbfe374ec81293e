// The options of a training step that `graft compile --trainable` and `graft dump --stage training` share.

import ArgumentParser
import Graft
import GraftTraining

/// `--head`, `--classes`, `--bn`, `--optimizer`: absent ones take the command's defaults.
struct TrainingChoice: ParsableArguments {
  @Option(
    help:
      "The head that the training step trains: linear, mlp:K (K from 1 to 65536), keep, or the name of a value that a linear layer reads. (default: linear)"
  )
  var head: String?

  @Option(help: "The number of classes of a new head. (default: the number of --labels)")
  var classes: Int?

  @Option(
    help:
      "The statistics that BatchNorms of the unfrozen layers use: frozen (stored) or train (of each batch). (default: frozen)",
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
      throw ValidationError("--bn must be frozen or train, found '\(bn)'")
    }
    if let optimizer, FineTuner.OptimizerName(rawValue: optimizer) == nil {
      throw ValidationError("--optimizer must be sgd, adam or adamw, found '\(optimizer)'")
    }
  }

  /// - Throws: `GraftError` of kind `invalidArgument` for an invalid head or freeze line.
  func options(unfreezing text: String) throws -> TrainableOptions {
    var options = TrainableOptions(unfreeze: try FineTuner.Unfreeze(text))
    options.head = try head.map { try FineTuner.Head($0) } ?? options.head
    options.classes = classes
    options.normalization = bn.flatMap { .init(rawValue: $0) } ?? options.normalization
    options.optimizer = optimizer.flatMap { .init(rawValue: $0) } ?? options.optimizer
    return options
  }
}
