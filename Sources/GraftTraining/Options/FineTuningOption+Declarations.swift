// Options of fine-tuning, each declared once: name, meaning with its unit, range, role in a run, and when it
// has no effect. Defaults are those of FineTuner.Options.

import GraftData
import GraftDiagnostics

/// Collects declarations; each is type-checked separately.
@resultBuilder
private enum OptionList {
  static func buildBlock(_ options: FineTuningOption...) -> [FineTuningOption] { options }
}

extension FineTuningOption {
  /// Every option, in the order of the help and of generated commands.
  public static let all: [FineTuningOption] =
    data + head + optimization + scheduling + regularization + distillation + run

  @OptionList private static var data: [FineTuningOption] {
    text(
      "data", .data,
      "The training data: one folder of images per class, CIFAR-10's binary batches, or x.npy and y.npy; for a "
        + "class for every pixel images/ with masks/, for a network whose output is an image inputs/ with targets/",
      form: .folder, role: .input,
      get: { $0.data }, set: { $0.data = $1 })
    text(
      "val", .data, "Separate validation data, in one of the formats of --data", form: .folder,
      absence: "held out from --data, see --val-split", role: .input,
      get: { $0.validationData }, set: { $0.validationData = $1 })
    number(
      "val-split", .data,
      "The fraction of each class that is held out for validation; 0 holds nothing out",
      .from(0.0, below: 1), placeholder: "fraction",
      get: { $0.validationSplit }, set: { $0.validationSplit = $1 }
    ).idle { $0.validationData == nil ? nil : "--val gives the validation data" }
  }

  @OptionList private static var head: [FineTuningOption] {
    text(
      "output", .head, "The name of the output to train, if the network has several",
      form: .value("name"),
      absence: "the output that is an image, else the one that looks most like class scores",
      get: { $0.output }, set: { $0.output = $1 })
    text(
      "auxiliary", .head,
      "Another output to train, with the weight of its cross-entropy in the loss; may be given several times. The tuned "
        + "network does not have it",
      form: .list("name=weight"), range: "a weight greater than 0", absence: "none",
      get: { $0.auxiliary.isEmpty ? nil : text(of: $0.auxiliary) },
      set: { $0.auxiliary = try auxiliary(from: $1) }
    ).refused(when: needsCrossEntropy).idle {
      $0.unfreeze == .none
        ? "--unfreeze none trains only the heads, and the tuned network has no auxiliary one" : nil
    }
    text(
      "head", .head,
      "The new head (last layer): linear, mlp:K (with a hidden layer of K units before it, K from 1 to "
        + "65536), keep (the network's own), or the name of a value that a linear layer is to read, in place of "
        + "all that comes after it (tokens and images by their mean)",
      form: .words(["linear", "keep"], isOpen: true),
      absence: "linear; keep for a network whose output is an image",
      get: { $0.head?.description }, set: { $0.head = try FineTuner.Head($1) })
    text(
      "unfreeze", .head,
      "The layers that train in addition to the head: none, last:N (the last N layers with weights), a scope "
        + "such as layer4 (every layer from there on), or all",
      form: .words(["none", "all"], isOpen: true),
      get: { "\($0.unfreeze)" }, set: { $0.unfreeze = try FineTuner.Unfreeze($1) })
    choice(
      "bn", .head,
      "The statistics that BatchNorms of the unfrozen layers normalize with, the stored ones (frozen) or each "
        + "batch's (train)", \.normalization)
    number(
      "prune", .head,
      "Remove channels with this share of the network's multiply-adds while it trains; the unpruned network is the "
        + "teacher unless --teacher names one, and --alpha 0 trains without",
      .above(0.0, below: 1), absence: "nothing is removed", placeholder: "share",
      get: { $0.prune }, set: { $0.prune = $1 }
    ).refused(when: pruningConflict)
  }

  @Sendable private static func pruningConflict(_ options: Options) -> String? {
    if options.unfreeze != .all {
      return "frozen layers keep their code, so pruning needs --unfreeze all"
    }
    if !options.auxiliary.isEmpty {
      return "auxiliary outputs are no part of the tuned network, whose channels are judged"
    }
    guard let head = options.head, head != .keep else { return nil }
    return
      "a new head has no channels to judge yet; train it first (--head \(head)), then prune the tuned bundle with "
      + "--head keep"
  }

  /// Why options of a teacher have no effect.
  @Sendable private static func lacksTeacher(_ options: Options) -> String? {
    options.teacher == nil && options.prune == nil ? "there is no --teacher" : nil
  }

  /// Sets a property of the teacher, which is the unpruned network if there is no other.
  private static func setTeacher<Value>(
    _ path: WritableKeyPath<FineTuner.Teacher, Value>, of options: inout Options, to value: Value
  ) {
    if options.teacher == nil, options.prune != nil {
      options.teacher = FineTuner.Teacher(bundle: nil)
    }
    options.teacher?[keyPath: path] = value
  }

  @OptionList private static var optimization: [FineTuningOption] {
    number(
      "epochs", .optimization, "The number of passes over the training items",
      .from(1, to: 100_000), get: { $0.epochs }, set: { $0.epochs = $1 })
    number(
      "batch-size", .optimization, "The number of items in a training step", .from(1, to: 65_536),
      get: { $0.batchSize }, set: { $0.batchSize = $1 })
    choice("optimizer", .optimization, "The optimizer, as defined by PyTorch", \.optimizer)
    number(
      "lr", .optimization, "The peak learning rate", .positive,
      role: .rate, get: { $0.learningRate }, set: { $0.learningRate = $1 })
    number(
      "head-lr", .optimization, "The learning rate of the head", .positive,
      absence: "the value of --lr",
      role: .rate, get: { $0.headLearningRate }, set: { $0.headLearningRate = $1 })
    number(
      "layer-decay", .optimization,
      "The ratio of a layer's learning rate to that of the next layer, starting at the head",
      .above(0.0, to: 1), placeholder: "factor",
      get: { $0.layerDecay }, set: { $0.layerDecay = $1 }
    ).idle { $0.unfreeze == .none ? "--unfreeze none trains only the head" : nil }
    number(
      "momentum", .optimization, "The momentum coefficient of sgd", .from(0.0, below: 1),
      placeholder: "factor",
      get: { $0.momentum }, set: { $0.momentum = $1 }
    ).idle { $0.optimizer == .sgd ? nil : "it applies only to --optimizer sgd" }
    flag(
      "nesterov", .optimization, "Use Nesterov momentum; off by default", get: { $0.isNesterov },
      set: { $0.isNesterov = true }
    ).refused {
      $0.momentum > 0 && $0.optimizer == .sgd
        ? nil : "Nesterov momentum needs --optimizer sgd and a --momentum greater than 0"
    }
    number(
      "weight-decay", .optimization,
      "The weight decay coefficient, as PyTorch defines it for the optimizer",
      .notNegative, get: { $0.weightDecay }, set: { $0.weightDecay = $1 })
    choice(
      "loss", .optimization,
      "The loss; cross-entropy is binary if the network ends in a sigmoid; mse, mae and charbonnier (√(d² + 10⁻⁶)) "
        + "are for regression, of numbers or of images",
      \.loss, absence: "cross-entropy; mse for a network whose output is an image")
    number(
      "clip-norm", .optimization,
      "The maximum Euclidean norm of all gradients together; larger gradients are scaled down to it",
      .positive, absence: "no limit", get: { $0.clipNorm }, set: { $0.clipNorm = $1 })
    number(
      "accumulate", .optimization,
      "The number of batches whose gradients are accumulated for one update",
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
      "The length of the linear warmup from 0 to the learning rate, in epochs, not necessarily whole",
      .notNegative,
      placeholder: "epochs",
      get: { $0.schedule.warmup }, set: { $0.schedule.warmup = $1 })
    number(
      "step-size", .schedule, "The number of epochs between two drops of --schedule step",
      .atLeast(1),
      placeholder: "epochs",
      get: { $0.schedule.stepSize }, set: { $0.schedule.stepSize = $1 }
    ).idle { $0.schedule.stepSize == nil ? "it applies only to --schedule step" : nil }
    number(
      "gamma", .schedule, "The factor on the learning rate at each drop of --schedule step",
      .positive,
      placeholder: "factor",
      get: { $0.schedule.gamma }, set: { $0.schedule.gamma = $1 }
    ).idle { $0.schedule.gamma == nil ? "it applies only to --schedule step" : nil }
    number(
      "early-stop", .schedule, "Stop after this many epochs without a better validation result",
      .atLeast(1), absence: "never", placeholder: "epochs",
      get: { $0.earlyStop }, set: { $0.earlyStop = $1 }
    ).idle {
      $0.validationData == nil && $0.validationSplit == 0
        ? "with --val-split 0 there is no validation result" : nil
    }
  }

  @OptionList private static var regularization: [FineTuningOption] {
    number(
      "label-smoothing", .regularization,
      "The fraction of each target that is distributed evenly over all classes",
      .from(0.0, below: 1), placeholder: "fraction",
      get: { $0.labelSmoothing }, set: { $0.labelSmoothing = $1 }
    ).refused(when: needsCrossEntropy)
    choice(
      "class-weights", .regularization,
      "The weights of the classes in the loss; balanced is inversely proportional to their item counts",
      \.classWeights
    ).refused(when: needsCrossEntropy)
    text(
      "augment", .regularization,
      "Random transforms of training images: none, or some of "
        + alternatives(FineTuner.Augmentation.Step.allCases.map(\.rawValue)) + " joined by -",
      form: .words(
        ["none"] + FineTuner.Augmentation.Step.allCases.map(\.rawValue), isOpen: true),
      get: { "\($0.augmentation)" }, set: { $0.augmentation = try FineTuner.Augmentation($1) })
    number(
      "mixup", .regularization,
      "Interpolate each image of a batch with another, with a weight from Beta(alpha, alpha) (mixup)",
      .above(0.0, to: 1000), absence: "off", placeholder: "alpha",
      get: { $0.mixing.mixup }, set: { $0.mixing.mixup = $1 }
    ).refused(when: mixingConflict)
    number(
      "cutmix", .regularization,
      "Paste a box of each image of a batch into another, with an area from Beta(alpha, alpha) (CutMix)",
      .above(0.0, to: 1000), absence: "off", placeholder: "alpha",
      get: { $0.mixing.cutmix }, set: { $0.mixing.cutmix = $1 }
    ).refused(when: mixingConflict)
    number(
      "cache-views", .regularization,
      "Make this many random views of each image and cache their features from the frozen layers",
      .from(1, to: 10_000), absence: "new views in every epoch", placeholder: "views",
      get: { $0.cacheViews }, set: { $0.cacheViews = $1 }
    ).refused { $0.augmentation.isNone ? "it caches random views, and --augment makes none" : nil }
  }

  @Sendable private static func needsCrossEntropy(_ options: Options) -> String? {
    options.loss?.measure != nil ? "it applies only to --loss cross-entropy" : nil
  }

  @Sendable private static func mixingConflict(_ options: Options) -> String? {
    if options.cacheViews != nil {
      return
        "it mixes images before the frozen layers, differently in every batch, so --cache-views has "
        + "nothing to cache"
    }
    return options.loss?.measure != nil
      ? "it mixes classes, and applies only to --loss cross-entropy" : nil
  }

  @OptionList private static var distillation: [FineTuningOption] {
    text(
      "teacher", .distillation,
      "A bundle to distill, whose class probabilities are additional targets (Hinton et al. 2015)",
      form: .folder, absence: "none", role: .input,
      get: { $0.teacher?.bundle },
      set: { options, path in
        if options.teacher == nil { options.teacher = FineTuner.Teacher(bundle: path) }
        options.teacher?.bundle = path
      }
    ).refused(when: needsCrossEntropy)
    number(
      "temperature", .distillation,
      "The temperature that divides the teacher's and the student's logits before softmax",
      .positive, get: { $0.teacher?.temperature },
      set: { setTeacher(\.temperature, of: &$0, to: $1) }
    ).idle(when: lacksTeacher)
    number(
      "alpha", .distillation,
      "The weight of the teacher's soft targets in the loss; the labels have the weight 1 - alpha",
      .from(0.0, to: 1), placeholder: "weight",
      get: { $0.teacher?.alpha }, set: { setTeacher(\.alpha, of: &$0, to: $1) }
    ).idle(when: lacksTeacher)
  }

  @OptionList private static var run: [FineTuningOption] {
    number(
      "seed", .run, "The random seed: initial weights of a new head, shuffling, views, dropout",
      NumberRange<UInt64>(text: "a whole number below 2^64") { _ in true }, get: { $0.seed },
      set: { $0.seed = $1 })
    text(
      "memory-limit", .run,
      "The maximum memory of the process in bytes; K, M and G are powers of 1000",
      form: .value("bytes"), range: "greater than 0", absence: "no limit", role: .circumstance,
      get: { $0.memoryLimit.map(String.init) }, set: { $0.memoryLimit = try bytes($1) })
    number(
      "threads", .run, "The number of threads", .from(1, to: 1024),
      absence: "the number of available cores",
      role: .circumstance, get: { $0.threads }, set: { $0.threads = $1 })
    text(
      "checkpoint", .run,
      "Save the state after every epoch in this folder, and keep it after the run",
      form: .folder, absence: "a folder next to the output bundle, removed after the run",
      role: .circumstance,
      get: { $0.checkpoint }, set: { $0.checkpoint = $1 }
    ).idle { $0.resumes ? "--resume names the folder" : nil }
    text(
      "resume", .run,
      "Continue from the state in this folder, with the options of that run; options given here must agree",
      form: .folder, role: .beginning, get: { $0.resumes ? $0.checkpoint : nil },
      set: { ($0.checkpoint, $0.resumes) = ($1, true) })
    flag(
      "overwrite", .run, "Remove an existing checkpoint of an earlier run",
      role: .beginning, get: { $0.overwrites }, set: { $0.overwrites = true }
    ).idle { $0.resumes ? "--resume continues from the checkpoint" : nil }
    text(
      "metrics", .run, "Write one JSON object per epoch and line to this file", form: .file(),
      absence: "metrics.jsonl in the bundle", role: .circumstance,
      get: { $0.metrics }, set: { $0.metrics = $1 })
    text(
      "tensorboard", .run, "Write a TensorBoard event file to this folder", form: .folder,
      absence: "in the bundle", role: .circumstance,
      get: { $0.tensorboard }, set: { $0.tensorboard = $1 })
    text(
      "report", .run, "Write the report to this HTML file", form: .file(["html"]),
      absence: "report.html in the bundle", role: .circumstance,
      get: { $0.report }, set: { $0.report = $1 })
  }

  /// A number of bytes, optionally followed by K, M or G (powers of 1000, as Graft prints sizes).
  private static func bytes(_ text: String) throws -> Int {
    let factors: [Character: Int] = ["K": 1_000, "M": 1_000_000, "G": 1_000_000_000]
    let factor = text.last.flatMap { factors[$0] }
    let number = Int(factor == nil ? text : String(text.dropLast())) ?? 0
    let (product, overflow) = number.multipliedReportingOverflow(by: factor ?? 1)
    guard !overflow, product > 0 else {
      throw GraftError(
        .invalidArgument,
        "--memory-limit must be a number of bytes such as 900000000, 900M or 2G, found \(text.quotedForDisplay)"
      )
    }
    return product
  }
}
