// The options of fine-tuning, each declared once: name, meaning with its unit, range, whether it is part of what a
// run is, and when it does nothing. Defaults are those of FineTuner.Options.

import GraftData
import GraftDiagnostics

/// Collects declarations; each is type-checked by itself.
@resultBuilder
private enum OptionList {
  static func buildBlock(_ options: FineTuningOption...) -> [FineTuningOption] { options }
}

extension FineTuningOption {
  /// Every option, in the order of the help and of commands.
  public static let all: [FineTuningOption] =
    data + head + optimization + scheduling + regularization + distillation + run

  @OptionList private static var data: [FineTuningOption] {
    text(
      "data", .data,
      "The data to learn from: a folder of pictures for each class, CIFAR-10's binary batches, or x.npy "
        + "and y.npy", form: .folder, role: .input,
      get: { $0.data }, set: { $0.data = $1 })
    text(
      "val", .data, "Validation data of their own, of the same kind", form: .folder,
      absence: "a part of --data, see --val-split", role: .input,
      get: { $0.validationData }, set: { $0.validationData = $1 })
    number(
      "val-split", .data,
      "The share of each class that is held out for validation; 0 holds nothing out",
      .from(0.0, below: 1), placeholder: "share",
      get: { $0.validationSplit }, set: { $0.validationSplit = $1 }
    ).idle { $0.validationData == nil ? nil : "--val has the validation data" }
  }

  @OptionList private static var head: [FineTuningOption] {
    text(
      "output", .head, "The name of the output that has the classes, where the network has several",
      form: .value("name"), absence: "the output that looks most like classes",
      get: { $0.output }, set: { $0.output = $1 })
    text(
      "head", .head,
      "The new head, the last layer: linear, mlp:K with a hidden layer of K units before it (from 1 to "
        + "65536), or keep", form: .words(["linear", "keep"], isOpen: true),
      get: { "\($0.head)" }, set: { $0.head = try FineTuner.Head($1) })
    text(
      "unfreeze", .head,
      "The layers that train beside the head: none, last:N for the last N layers with weights, a scope "
        + "such as layer4 for all from there on, or all",
      form: .words(["none", "all"], isOpen: true),
      get: { "\($0.unfreeze)" }, set: { $0.unfreeze = try FineTuner.Unfreeze($1) })
    choice(
      "bn", .head,
      "What BatchNorms of the layers that train normalize with, the stored statistics or each batch's own",
      \.normalization)
  }

  @OptionList private static var optimization: [FineTuningOption] {
    number(
      "epochs", .optimization, "Epochs, passes over all training items",
      .from(1, to: 100_000), get: { $0.epochs }, set: { $0.epochs = $1 })
    number(
      "batch-size", .optimization, "Items of a training step", .from(1, to: 65_536),
      get: { $0.batchSize }, set: { $0.batchSize = $1 })
    choice("optimizer", .optimization, "The optimizer, as PyTorch defines it", \.optimizer)
    number(
      "lr", .optimization, "The learning rate, by which gradients are multiplied", .positive,
      role: .rate, get: { $0.learningRate }, set: { $0.learningRate = $1 })
    number(
      "head-lr", .optimization, "The learning rate of the head", .positive, absence: "as --lr",
      role: .rate, get: { $0.headLearningRate }, set: { $0.headLearningRate = $1 })
    number(
      "layer-decay", .optimization,
      "The factor on the learning rate from each layer to the one before it, counted from the head",
      .above(0.0, to: 1), placeholder: "factor",
      get: { $0.layerDecay }, set: { $0.layerDecay = $1 }
    ).idle { $0.unfreeze == .none ? "--unfreeze none trains the head alone" : nil }
    number(
      "momentum", .optimization, "The momentum of sgd", .from(0.0, below: 1), placeholder: "factor",
      get: { $0.momentum }, set: { $0.momentum = $1 }
    ).idle { $0.optimizer == .sgd ? nil : "it belongs to --optimizer sgd" }
    flag(
      "nesterov", .optimization, "Nesterov's momentum", get: { $0.isNesterov },
      set: { $0.isNesterov = true }
    ).refused {
      $0.momentum > 0 && $0.optimizer == .sgd
        ? nil : "Nesterov's momentum needs --optimizer sgd and a --momentum greater than 0"
    }
    number(
      "weight-decay", .optimization, "Weight decay, as PyTorch defines it for the optimizer",
      .notNegative, get: { $0.weightDecay }, set: { $0.weightDecay = $1 })
    choice(
      "loss", .optimization,
      "The loss; cross-entropy becomes binary where the network ends in a sigmoid, mse is regression",
      \.loss)
    number(
      "clip-norm", .optimization,
      "The largest Euclidean norm of all gradients together; larger ones are scaled down to it",
      .positive, absence: "no limit", get: { $0.clipNorm }, set: { $0.clipNorm = $1 })
    number(
      "accumulate", .optimization, "Batches whose gradients add up to one update",
      .from(1, to: 4096), get: { $0.accumulate }, set: { $0.accumulate = $1 })
  }

  @OptionList private static var scheduling: [FineTuningOption] {
    text(
      "schedule", .schedule, "How the learning rate changes over the run",
      form: .words(LearningRateSchedule.names),
      get: { $0.schedule.name },
      set: { options, name in
        options.schedule = LearningRateSchedule(
          try LearningRateSchedule.Shape(named: name), warmup: options.schedule.warmup)
      })
    number(
      "warmup", .schedule,
      "The epochs, whole or not, over which the rate first climbs from 0 to its value",
      .notNegative,
      placeholder: "epochs",
      get: { $0.schedule.warmup }, set: { $0.schedule.warmup = $1 })
    number(
      "step-size", .schedule, "The epochs between two drops of --schedule step", .atLeast(1),
      placeholder: "epochs",
      get: { $0.schedule.stepSize }, set: { $0.schedule.stepSize = $1 }
    ).idle { $0.schedule.stepSize == nil ? "it belongs to --schedule step" : nil }
    number(
      "gamma", .schedule, "The factor on the rate at each drop of --schedule step", .positive,
      placeholder: "factor",
      get: { $0.schedule.gamma }, set: { $0.schedule.gamma = $1 }
    ).idle { $0.schedule.gamma == nil ? "it belongs to --schedule step" : nil }
    number(
      "early-stop", .schedule, "Stop after so many epochs without a better validation result",
      .atLeast(1), absence: "never", placeholder: "epochs",
      get: { $0.earlyStop }, set: { $0.earlyStop = $1 }
    ).idle {
      $0.validationData == nil && $0.validationSplit == 0
        ? "with --val-split 0 there is no validation result" : nil
    }
  }

  @OptionList private static var regularization: [FineTuningOption] {
    number(
      "label-smoothing", .regularization, "The share of a target that is spread over all classes",
      .from(0.0, below: 1), placeholder: "share",
      get: { $0.labelSmoothing }, set: { $0.labelSmoothing = $1 }
    ).refused(when: needsCrossEntropy)
    choice(
      "class-weights", .regularization,
      "How classes weigh in the loss; balanced is in inverse proportion to their items",
      \.classWeights
    ).refused(when: needsCrossEntropy)
    text(
      "augment", .regularization,
      "Random changes of training pictures: none, or some of "
        + alternatives(FineTuner.Augmentation.Step.allCases.map(\.rawValue)) + " joined by -",
      form: .words(
        ["none"] + FineTuner.Augmentation.Step.allCases.map(\.rawValue), isOpen: true),
      get: { "\($0.augmentation)" }, set: { $0.augmentation = try FineTuner.Augmentation($1) })
    number(
      "mixup", .regularization,
      "Mix each picture of a batch with another, by a share of the beta distribution with this parameter",
      .above(0.0, to: 1000), absence: "off", placeholder: "alpha",
      get: { $0.mixing.mixup }, set: { $0.mixing.mixup = $1 }
    ).refused(when: mixingConflict)
    number(
      "cutmix", .regularization,
      "Put a part of each picture of a batch into another, of a share as for --mixup",
      .above(0.0, to: 1000), absence: "off", placeholder: "alpha",
      get: { $0.mixing.cutmix }, set: { $0.mixing.cutmix = $1 }
    ).refused(when: mixingConflict)
    number(
      "cache-views", .regularization,
      "Make so many random views of each picture and keep what the frozen layers make of them",
      .from(1, to: 10_000), absence: "new views in every epoch", placeholder: "views",
      get: { $0.cacheViews }, set: { $0.cacheViews = $1 }
    ).refused { $0.augmentation.isNone ? "it keeps random views, and --augment makes none" : nil }
  }

  @Sendable private static func needsCrossEntropy(_ options: Options) -> String? {
    options.loss == .meanSquaredError ? "it belongs to --loss cross-entropy" : nil
  }

  @Sendable private static func mixingConflict(_ options: Options) -> String? {
    if options.cacheViews != nil {
      return
        "it mixes pictures before the frozen layers, anew in every batch, so there is nothing to keep "
        + "with --cache-views"
    }
    return options.loss == .meanSquaredError
      ? "it mixes classes, and belongs to --loss cross-entropy" : nil
  }

  @OptionList private static var distillation: [FineTuningOption] {
    text(
      "teacher", .distillation,
      "A bundle whose class probabilities are learned too (Hinton et al. 2015)",
      form: .folder, absence: "none", role: .input,
      get: { $0.teacher?.bundle },
      set: { options, path in
        if options.teacher == nil { options.teacher = FineTuner.Teacher(bundle: path) }
        options.teacher?.bundle = path
      }
    ).refused(when: needsCrossEntropy)
    number(
      "temperature", .distillation,
      "The temperature T: the teacher's and the student's logits are divided by it before softmax",
      .positive, get: { $0.teacher?.temperature }, set: { $0.teacher?.temperature = $1 }
    ).idle { $0.teacher == nil ? "there is no --teacher" : nil }
    number(
      "alpha", .distillation,
      "The share of the loss that the teacher's soft targets have; the labels have the rest",
      .from(0.0, to: 1), placeholder: "share",
      get: { $0.teacher?.alpha }, set: { $0.teacher?.alpha = $1 }
    ).idle { $0.teacher == nil ? "there is no --teacher" : nil }
  }

  @OptionList private static var run: [FineTuningOption] {
    number(
      "seed", .run, "The seed of everything random: weights of a new head, orders, views",
      NumberRange<UInt64>(text: "a whole number below 2^64") { _ in true }, get: { $0.seed },
      set: { $0.seed = $1 })
    text(
      "memory-limit", .run,
      "The most memory that the process may use, in bytes or thousands of them with K, M or G",
      form: .value("bytes"), range: "greater than 0", absence: "no limit", role: .circumstance,
      get: { $0.memoryLimit.map(String.init) }, set: { $0.memoryLimit = try bytes($1) })
    number(
      "threads", .run, "Threads", .from(1, to: 1024), absence: "the cores that are available",
      role: .circumstance, get: { $0.threads }, set: { $0.threads = $1 })
    text(
      "checkpoint", .run,
      "Keep the state after every epoch in this folder, also when the run is done",
      form: .folder, absence: "a folder beside the bundle until the run is done",
      role: .circumstance,
      get: { $0.checkpoint }, set: { $0.checkpoint = $1 }
    ).idle { $0.resumes ? "--resume names the folder" : nil }
    text(
      "resume", .run,
      "Go on from the state in this folder, with the options of that run; those that are given must agree",
      form: .folder, role: .beginning, get: { $0.resumes ? $0.checkpoint : nil },
      set: { ($0.checkpoint, $0.resumes) = ($1, true) })
    flag(
      "overwrite", .run, "Remove the checkpoint of an earlier run that is in the way",
      role: .beginning, get: { $0.overwrites }, set: { $0.overwrites = true }
    ).idle { $0.resumes ? "--resume goes on from the checkpoint" : nil }
    text(
      "metrics", .run, "Write a JSON line for every epoch to this file", form: .file(),
      absence: "metrics.jsonl in the bundle", role: .circumstance,
      get: { $0.metrics }, set: { $0.metrics = $1 })
    text(
      "tensorboard", .run, "Write an event file for TensorBoard into this folder", form: .folder,
      absence: "into the bundle", role: .circumstance,
      get: { $0.tensorboard }, set: { $0.tensorboard = $1 })
    text(
      "report", .run, "Write the report to this HTML file", form: .file(["html"]),
      absence: "report.html in the bundle", role: .circumstance,
      get: { $0.report }, set: { $0.report = $1 })
  }

  /// A number of bytes, which may end in K, M or G: thousands, as Graft prints them.
  private static func bytes(_ text: String) throws -> Int {
    let factors: [Character: Int] = ["K": 1_000, "M": 1_000_000, "G": 1_000_000_000]
    let factor = text.last.flatMap { factors[$0] }
    let number = Int(factor == nil ? text : String(text.dropLast())) ?? 0
    let (product, overflow) = number.multipliedReportingOverflow(by: factor ?? 1)
    guard !overflow, product > 0 else {
      throw GraftError(
        .invalidArgument,
        "--memory-limit takes no \(text.quotedForDisplay); it is a number of bytes, such as 900000000, 900M or 2G"
      )
    }
    return product
  }
}
