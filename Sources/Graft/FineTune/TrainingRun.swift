// The epochs: batches in a random order, the step, validation, the best state, checkpoints, and when to stop.

import Foundation
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftRuntime

/// One run of a trainer over data.
struct TrainingRun {
  let options: FineTuner.Options
  let plan: FineTuningPlan
  let trainer: LoadedTrainer
  let data: TrainingData
  let items: [Int]
  let validation: (data: TrainingData, items: [Int])?
  let classCount: Int
  private(set) var history: [FineTuner.Epoch] = []
  private(set) var bestEpoch = 0
  /// The contents of every state after the best epoch.
  private(set) var bestState: [[Float]] = []
  private let feed: any TrainingFeed
  private let checkpoint: Checkpoint?
  private let metrics: MetricsFile?
  private let encoder: TargetEncoder

  init(
    options: FineTuner.Options, plan: FineTuningPlan, trainer: LoadedTrainer, data: TrainingData,
    items: [Int], validation: (data: TrainingData, items: [Int])?, classCount: Int,
    feed: any TrainingFeed, checkpoint: Checkpoint?
  ) throws {
    self.feed = feed
    self.checkpoint = checkpoint
    metrics = try options.metrics.map { try MetricsFile(at: $0) }
    self.options = options
    self.plan = plan
    self.trainer = trainer
    self.data = data
    self.items = items
    self.validation = validation
    self.classCount = classCount
    var encoder = TargetEncoder(classCount: classCount)
    encoder.labelSmoothing = options.labelSmoothing
    if options.classWeights == .balanced {
      encoder.classWeights = TargetEncoder.balancedWeights(
        items.map { data.labels[$0] }, classCount: classCount)
    }
    encoder.share = options.teacher.map { 1 - $0.alpha } ?? 1
    self.encoder = encoder
  }

  private var isClassification: Bool { options.loss == .crossEntropy }

  /// Batches of an epoch; a partial last one counts.
  private var batchCount: Int { (items.count + options.batchSize - 1) / options.batchSize }
  private var updatesPerEpoch: Int { (batchCount + options.accumulate - 1) / options.accumulate }

  mutating func perform(observe: (FineTuner.Event) throws -> Void) throws {
    let clock = ContinuousClock()
    if options.resumes, let checkpoint {
      let (progress, best) = try checkpoint.resume(trainer)
      history = progress.history
      bestEpoch = progress.bestEpoch
      bestState = best
      for epoch in history { try observe(.finished(epoch)) }
      try metrics?.write(history)
    }
    guard history.count < options.epochs, !isExhausted else { return }
    for epoch in (history.count + 1)...options.epochs {
      let start = clock.now
      var (loss, right, done) = (0.0, 0, 0)
      let order = try order(of: epoch)
      try feed.prepare(epoch: epoch - 1, order: order) { try? observe(.doing($0)) }
      for batch in 0..<batchCount {
        let rows = order[
          (batch * options.batchSize)..<min((batch + 1) * options.batchSize, order.count)]
        let result = try step(rows, batch: batch, epoch: epoch)
        loss += result.loss * Double(rows.count)
        right += result.right
        done += rows.count
        guard loss.isFinite else {
          throw GraftError(
            .invalidData,
            "the loss is no finite number after \(batch + 1) batches of epoch \(epoch)",
            advice: "Choose a smaller --lr (it was \(options.learningRate)), or --clip-norm 1.")
        }
        let seconds = (clock.now - start) / .seconds(1)
        try observe(
          .step(
            epoch: epoch, done: done, of: order.count, loss: loss / Double(done),
            imagesPerSecond: Double(done) / max(seconds, 1e-9)))
      }
      let trained = (clock.now - start) / .seconds(1)
      if epoch < options.epochs {
        // Reading for the next epoch goes on while this one is judged.
        try feed.prepare(epoch: epoch, order: try self.order(of: epoch + 1)) {
          try? observe(.doing($0))
        }
      }
      let held = try validation.map { try evaluate($0.data, $0.items) }
      let finished = FineTuner.Epoch(
        epoch: epoch, loss: loss / Double(done),
        accuracy: isClassification ? Double(right) / Double(done) : nil,
        validationLoss: held?.loss, validationAccuracy: held?.accuracy,
        learningRate: options.learningRate * factor(update: epoch * updatesPerEpoch - 1),
        seconds: (clock.now - start) / .seconds(1),
        imagesPerSecond: Double(done) / max(trained, 1e-9))
      history.append(finished)
      if isBetter(finished) {
        bestEpoch = epoch
        bestState = try trainer.description.states.indices.map { try trainer.state($0) }
      }
      try checkpoint?.save(trainer, history: history, bestEpoch: bestEpoch)
      try metrics?.write(history)
      try observe(.finished(finished))
      if isExhausted {
        try observe(.note("no better epoch since \(bestEpoch): stopped"))
        return
      }
    }
  }

  /// The items of an epoch (from 1) in the order in which they are learnt from.
  private func order(of epoch: Int) throws -> [Int] {
    try trainer.order(epoch: epoch - 1, count: items.count).map { items[$0] }
  }

  /// Whether too many epochs have passed without a better one.
  private var isExhausted: Bool {
    guard let patience = options.earlyStop, validation != nil else { return false }
    return history.count - bestEpoch >= patience
  }

  private func factor(update: Int) -> Double {
    options.schedule.factor(update: update, perEpoch: updatesPerEpoch, epochs: options.epochs)
  }

  /// Without validation data the last epoch is kept; with them the best accuracy, or the lowest loss where
  /// accuracies are equal or there are none.
  private func isBetter(_ epoch: FineTuner.Epoch) -> Bool {
    guard validation != nil, bestEpoch > 0 else { return true }
    let best = history[bestEpoch - 1]
    let (new, old) = (epoch.validationAccuracy ?? 0, best.validationAccuracy ?? 0)
    if new != old { return new > old }
    return (epoch.validationLoss ?? .infinity) < (best.validationLoss ?? .infinity)
  }

  private func step(
    _ rows: ArraySlice<Int>, batch: Int, epoch: Int
  ) throws -> (loss: Double, right: Int) {
    let update = (epoch - 1) * updatesPerEpoch + batch / options.accumulate
    let rate = options.learningRate * factor(update: update)
    let settings = LoadedTrainer.StepSettings(
      hyperparameters: plan.specification.groupNames.indices.map { group in
        LoadedTrainer.Hyperparameters(
          learningRate: Float(rate * plan.groupRates[group]), momentum: Float(options.momentum),
          weightDecay: Float(options.weightDecay))
      },
      clipNorm: options.clipNorm.map { Float($0) },
      temperature: options.teacher.map { Float($0.temperature) } ?? 1,
      continuesAccumulation: batch % options.accumulate != 0,
      awaitsMicroBatches: (batch + 1) % options.accumulate != 0 && batch + 1 < batchCount)
    let fed = try feed.next(rows, epoch: epoch - 1, batch: batch)
    var inputs = fed.features
    if isClassification {
      let share = Float(microBatchShare(batch))
      var targets = encoder.encode(labels: rows.map { data.labels[$0] }[...])
      fed.mixing?.mixRows(&targets, count: rows.count)
      inputs.append(share == 1 ? targets : targets.map { $0 * share })
      if let teacher = options.teacher, let logits = fed.teacherLogits {
        inputs.append(teacher.targets(logits, count: rows.count).map { $0 * share })
      }
    } else {
      inputs.append(rows.flatMap { data.values[($0 * classCount)..<(($0 + 1) * classCount)] })
      inputs.append(
        Array(repeating: 1 / Float(rows.count * classCount), count: rows.count))
    }
    let result = try trainer.step(batch: rows.count, inputs: inputs, settings: settings)
    let share = isClassification ? microBatchShare(batch) : 1
    let loss = result.loss.reduce(0.0) { $0 + Double($1) } / share
    // Of a mixed picture the class of the larger part is the right one.
    let partners = (fed.mixing?.share ?? 1) < 0.5 ? rows.suffix(1) + rows.dropLast() : rows
    let right = isClassification ? correct(result.logits, partners.map { data.labels[$0] }) : 0
    return (loss, right)
  }

  /// The part of a micro-batch in the mean over all that make one update.
  private func microBatchShare(_ batch: Int) -> Double {
    guard options.accumulate > 1 else { return 1 }
    let first = batch / options.accumulate * options.accumulate
    return 1 / Double(min(options.accumulate, batchCount - first))
  }

  private func correct(_ logits: [Float], _ labels: [Int]) -> Int {
    labels.enumerated().count { row, label in
      let own = logits[(row * classCount)..<((row + 1) * classCount)]
      return Scores.best(1, of: own).first == label
    }
  }

  /// Mean loss, unsmoothed and unweighted, and the share that is right.
  private func evaluate(
    _ data: TrainingData, _ items: [Int]
  ) throws -> (loss: Double, accuracy: Double?) {
    var metrics =
      isClassification
      ? try ClassificationMetrics(classCount: classCount, outputKind: .logits) : nil
    var squares = 0.0
    for start in stride(from: 0, to: items.count, by: options.batchSize) {
      let rows = items[start..<min(start + options.batchSize, items.count)]
      let outputs = try trainer.evaluate(
        batch: rows.count, inputs: data.features.gather(rows))
      if isClassification {
        try metrics?.add(outputs: outputs, labels: rows.map { data.labels[$0] })
      } else {
        for (position, row) in rows.enumerated() {
          for index in 0..<classCount {
            let difference = Double(
              outputs[position * classCount + index] - data.values[row * classCount + index])
            squares += difference * difference
          }
        }
      }
    }
    if let metrics { return (metrics.loss ?? .nan, metrics.top1) }
    return (squares / Double(max(1, items.count * classCount)), nil)
  }
}

/// A file with one JSON object a line, one for every epoch.
struct MetricsFile {
  private let file: FileReplacement

  init(at path: String) throws { file = try FileReplacement(at: path) }

  func write(_ history: [FineTuner.Epoch]) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    var bytes: [UInt8] = []
    for epoch in history { bytes += try encoder.encode(epoch) + [0x0a] }
    try file.write(bytes)
  }
}
