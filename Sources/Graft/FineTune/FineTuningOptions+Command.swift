// The command that makes a run with these options, for reports: what differs from the defaults, as
// `graft finetune` takes it.

import GraftAutodiff
import GraftDiagnostics

extension FineTuner.Options {
  /// The arguments of `graft` that repeat a run from its start.
  /// - Parameters:
  ///   - bundle: the bundle that it starts from.
  ///   - output: the bundle that it writes.
  public func arguments(bundle: String, output: String) -> [String] {
    let defaults = FineTuner.Options(data: data)
    var arguments = ["finetune", bundle, "--data", data, "-o", output]
    func add(_ name: String, _ value: (some CustomStringConvertible)?) {
      if let value { arguments += [name, value.description] }
    }
    func add<Value: Equatable>(
      _ name: String, _ value: Value, unless usual: Value,
      _ text: (Value) -> String = { "\($0)" }
    ) {
      if value != usual { arguments += [name, text(value)] }
    }
    add("--val", validationData)
    add("--val-split", validationSplit, unless: defaults.validationSplit)
    add("--output", self.output)
    add("--head", head, unless: defaults.head)
    add("--unfreeze", unfreeze, unless: defaults.unfreeze)
    add("--bn", normalization, unless: defaults.normalization) { $0.rawValue }
    add("--epochs", epochs, unless: defaults.epochs)
    add("--batch-size", batchSize, unless: defaults.batchSize)
    add("--optimizer", optimizer, unless: defaults.optimizer) { $0.rawValue }
    add("--lr", learningRate, unless: defaults.learningRate)
    add("--head-lr", headLearningRate)
    add("--layer-decay", layerDecay, unless: defaults.layerDecay)
    add("--momentum", momentum, unless: defaults.momentum)
    if isNesterov { arguments.append("--nesterov") }
    add("--weight-decay", weightDecay, unless: defaults.weightDecay)
    add("--schedule", schedule.name, unless: defaults.schedule.name)
    if case .step(let size, let gamma) = schedule.shape {
      add("--step-size", size)
      add("--gamma", gamma)
    }
    add("--warmup", schedule.warmup, unless: defaults.schedule.warmup)
    add("--loss", loss, unless: defaults.loss) { $0.rawValue }
    add("--label-smoothing", labelSmoothing, unless: defaults.labelSmoothing)
    add("--class-weights", classWeights, unless: defaults.classWeights) { $0.rawValue }
    add("--clip-norm", clipNorm)
    add("--accumulate", accumulate, unless: defaults.accumulate)
    add("--augment", augmentation, unless: defaults.augmentation)
    add("--mixup", mixing.mixup)
    add("--cutmix", mixing.cutmix)
    add("--cache-views", cacheViews)
    if let teacher {
      add("--teacher", teacher.bundle)
      add("--temperature", teacher.temperature)
      add("--alpha", teacher.alpha)
    }
    add("--early-stop", earlyStop)
    add("--seed", seed)
    add("--memory-limit", memoryLimit)
    add("--threads", threads, unless: defaults.threads)
    add("--checkpoint", checkpoint)
    add("--metrics", metrics)
    add("--tensorboard", tensorboard)
    add("--report", report)
    return arguments
  }

  /// ``arguments(bundle:output:)`` as a line for a shell.
  public func command(bundle: String, output: String) -> String {
    (["graft"] + arguments(bundle: bundle, output: output)).map(\.quotedForShell)
      .joined(separator: " ")
  }
}

extension LearningRateSchedule {
  /// One of ``names``.
  public var name: String {
    switch shape {
    case .constant: "constant"
    case .step: "step"
    case .cosine: "cosine"
    case .oneCycle: "onecycle"
    }
  }
}

extension String {
  /// The text as one word of a POSIX shell.
  var quotedForShell: String {
    let plain =
      !isEmpty
      && unicodeScalars.allSatisfy {
        ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0)
          || "-_./:=,+@%".unicodeScalars.contains($0)
      }
    return plain ? self : "'" + replacing("'", with: "'\\''") + "'"
  }
}
