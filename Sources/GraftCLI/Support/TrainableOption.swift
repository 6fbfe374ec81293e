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

  @Option(help: "With --trainable, the head: linear, mlp:K, or keep. (default: linear)")
  var head: String?

  @Option(help: "With --trainable, the classes of a new head; --labels says so too.")
  var classes: Int?

  @Option(
    help: "With --trainable, BatchNorms of what trains: frozen or train. (default: frozen)",
    completion: .list(["frozen", "train"]))
  var bn: String?

  @Option(
    help: "With --trainable: sgd, adam or adamw. (default: sgd)",
    completion: .list(["sgd", "adam", "adamw"]))
  var optimizer: String?

  @Option(help: "With --trainable, decides the first weights of a new head. (default: 0)")
  var seed: UInt64?

  func validate() throws {
    let others: [(String, Bool)] = [
      ("--head", head != nil), ("--classes", classes != nil), ("--bn", bn != nil),
      ("--optimizer", optimizer != nil), ("--seed", seed != nil),
    ]
    if trainable == nil, let other = others.first(where: \.1) {
      throw ValidationError("\(other.0) belongs to --trainable")
    }
    if let bn, FineTuner.Normalization(rawValue: bn) == nil {
      throw ValidationError("--bn takes no '\(bn)'; it is frozen or train")
    }
    if let optimizer, FineTuner.OptimizerName(rawValue: optimizer) == nil {
      throw ValidationError("--optimizer takes no '\(optimizer)'; it is sgd, adam or adamw")
    }
  }

  /// - Throws: `GraftError` of kind `invalidArgument` for a head or a freeze line that is none.
  func parsed() throws -> TrainableOptions? {
    guard let trainable else { return nil }
    var options = TrainableOptions(unfreeze: try FineTuner.Unfreeze(trainable))
    options.head = try head.map { try FineTuner.Head($0) } ?? options.head
    options.classes = classes
    options.normalization = bn.flatMap { .init(rawValue: $0) } ?? options.normalization
    options.optimizer = optimizer.flatMap { .init(rawValue: $0) } ?? options.optimizer
    options.seed = seed ?? options.seed
    return options
  }
}
