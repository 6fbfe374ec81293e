// The training loop: shuffled batches, steps, validation, the best state, checkpoints, and early stopping.

import Foundation
import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftRuntime

/// The training loop of one run.
struct TrainingRun {
  let options: FineTuner.Options
  private(set) var plan: FineTuningPlan
  private(set) var trainer: LoadedTrainer
  let data: TrainingData
  let items: [Int]
  let validation: (data: TrainingData, items: [Int])?
  let classCount: Int
  private(set) var history: [FineTuner.Epoch] = []
  private(set) var bestEpoch = 0
  /// The rounds of pruning in all, one before each of the first epochs, and what was removed so far; nil of a run that
  /// does not prune.
  private let pruningRounds: Int
  private var pruned: [[ChannelCut]]?
  let feed: any TrainingFeed
  private var checkpoint: Checkpoint?
  private let records: RunRecords?
  private let encoder: TargetEncoder
  private let divergence: Double

  init(
    options: FineTuner.Options, plan: FineTuningPlan, trainer: LoadedTrainer, data: TrainingData,
    items: [Int], validation: (data: TrainingData, items: [Int])?, classCount: Int,
    feed: any TrainingFeed, checkpoint: Checkpoint?, records: RunRecords? = nil,
    pruning: Pruning? = nil
  ) throws {
    pruningRounds = pruning?.roundCount ?? 0
    pruned = pruning?.rounds
    self.feed = feed
    self.checkpoint = checkpoint
    self.records = records
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
      encoder.classWeights =
        plan.task == .positions
        ? TargetEncoder.balancedWeights(
          counts: (0..<classCount).map { index in
            items.reduce(0) { $0 + data.positionCounts[$1][index] }
          })
        : TargetEncoder.balancedWeights(items.map { data.labels[$0] }, classCount: classCount)
    }
    encoder.share = options.teacher.map { 1 - $0.alpha } ?? 1
    self.encoder = encoder
    divergence = Self.divergence(options, classCount: classCount, lossOfZeros: data.lossOfZeros)
  }

  var isClassification: Bool { plan.task == .classes }

  /// How many decisions were right: one per item, for multi-label data one per class of an item, for maps one
  /// per position with a class, for a regression none.
  struct Decisions {
    var right = 0
    var count = 0

    var accuracy: Double? { count == 0 ? nil : Double(right) / Double(count) }

    static func += (sum: inout Self, more: Self) {
      sum.right += more.right
      sum.count += more.count
    }
  }

  /// The number of batches per epoch, including a partial last one.
  var batchCount: Int { (items.count + options.batchSize - 1) / options.batchSize }
  private var updatesPerEpoch: Int { (batchCount + options.accumulate - 1) / options.accumulate }

  /// Continues with a network that has fewer channels and a new state of the optimizer.
  mutating func go(on plan: FineTuningPlan, _ trainer: LoadedTrainer, without cuts: [ChannelCut]) {
    (self.plan, self.trainer) = (plan, trainer)
    pruned?.append(cuts)
  }

  /// Trains up to an epoch.
  /// - Parameter last: the epoch, from 1; nil for all.
  mutating func perform(
    upTo last: Int? = nil, observe: (FineTuner.Event) throws -> Void
  ) throws {
    let clock = ContinuousClock()
    let last = last ?? options.epochs
    if options.resumes, history.isEmpty, let checkpoint {
      let progress = try checkpoint.resume(trainer)
      history = progress.history
      bestEpoch = progress.bestEpoch
      for epoch in history { try observe(.finished(epoch)) }
      try records?.add(history.count, of: history)
    }
    guard history.count < last, !isExhausted else { return }
    for epoch in (history.count + 1)...last {
      let start = clock.now
      var (loss, decisions, done) = (0.0, Decisions(), 0)
      let order = try order(of: epoch)
      try feed.prepare(epoch: epoch - 1, order: order) { try? observe(.doing($0)) }
      for batch in 0..<batchCount {
        let rows = self.rows(of: batch, in: order)
        let update = (epoch - 1) * updatesPerEpoch + batch / options.accumulate
        let result = try step(
          rows, batch: batch, epoch: epoch, rate: options.learningRate * factor(update: update))
        loss += result.loss * Double(rows.count)
        decisions += result.decisions
        done += rows.count
        try checkDivergence(of: loss / Double(done), epoch: epoch, batches: batch + 1)
        let seconds = (clock.now - start) / .seconds(1)
        let rate = Double(done) / max(seconds, 1e-9)
        let epochSeconds = history.last?.seconds ?? Double(order.count) / rate
        try observe(
          .step(
            FineTuner.Progress(
              epoch: epoch, epochs: options.epochs, done: done, count: order.count,
              loss: loss / Double(done),
              accuracy: decisions.accuracy, imagesPerSecond: rate,
              secondsLeft: Double(order.count - done) / rate
                + Double(options.epochs - epoch) * epochSeconds)))
      }
      let trained = (clock.now - start) / .seconds(1)
      if epoch < last {
        // Reading for the next epoch overlaps with the validation of this one.
        try feed.prepare(epoch: epoch, order: try self.order(of: epoch + 1)) {
          try? observe(.doing($0))
        }
      }
      let held = try validation.map { try evaluate($0.data, $0.items) }
      try checkState(epoch: epoch, validationLoss: held?.loss)
      let finished = FineTuner.Epoch(
        epoch: epoch, loss: loss / Double(done),
        accuracy: decisions.accuracy, validationLoss: held?.loss,
        validationAccuracy: held?.accuracy, validationMeanIoU: held?.meanIoU,
        learningRate: options.learningRate * factor(update: epoch * updatesPerEpoch - 1),
        seconds: (clock.now - start) / .seconds(1),
        imagesPerSecond: Double(done) / max(trained, 1e-9), time: RunRecords.now)
      history.append(finished)
      if isBetter(finished) { bestEpoch = epoch }
      try checkpoint?.save(
        trainer,
        Checkpoint.Progress(history: history, bestEpoch: bestEpoch, pruned: pruned),
        keepsBest: validation != nil)
      try records?.add(1, of: history)
      try observe(.finished(finished))
      if isExhausted {
        try observe(.note("stopped: no better epoch since \(bestEpoch)"))
        return
      }
    }
  }

  /// The items of an epoch (from 1) in training order.
  func order(of epoch: Int) throws -> [Int] {
    try trainer.order(epoch: epoch - 1, count: items.count).map { items[$0] }
  }

  /// Loads the weights of the best epoch into the trainer, at the end of the run.
  func restoreBest() throws {
    if bestEpoch != history.count { try checkpoint?.loadBest(bestEpoch, into: trainer) }
  }

  /// Stops a run that diverges.
  /// - Parameter loss: the mean loss of the epoch so far.
  /// - Throws: ``GraftError`` of kind `invalidData` if the loss is not finite or, after ten batches, far
  ///   above that of uniform predictions.
  private func checkDivergence(of loss: Double, epoch: Int, batches: Int) throws {
    let isHigh = loss > divergence && (batches >= 10 || batches == batchCount)
    guard !loss.isFinite || isHigh else { return }
    let place = "after \(batches) batch\(batches == 1 ? "" : "es") of epoch \(epoch)"
    throw diverged(
      loss.isFinite
        ? "the loss diverges: \(String(format: "%.4g", loss)) \(place)"
        : "the loss is not finite \(place)")
  }

  /// Checks that the state after an epoch is finite and has not diverged.
  private func checkState(epoch: Int, validationLoss: Double?) throws {
    if let validationLoss, !(validationLoss <= divergence) {
      throw diverged(
        "the validation loss diverges: \(String(format: "%.4g", validationLoss)) after epoch \(epoch)"
      )
    }
    for (index, state) in trainer.description.states.enumerated() {
      guard try trainer.state(index).allSatisfy(\.isFinite) else {
        throw diverged("\(state.name.quotedForDisplay) is not finite after epoch \(epoch)")
      }
    }
  }

  private func diverged(_ found: String) -> GraftError {
    var advice = "Choose a smaller --lr (it was \(options.learningRate)), or --clip-norm 1"
    if let checkpoint, !history.isEmpty {
      // Without the record, resuming needs the same rates; the error below is more important.
      try? checkpoint.noteDivergence(after: history.count)
      advice +=
        "; the state after epoch \(history.count) is in \(checkpoint.folder.escapedForDisplay), and "
        + "--resume \(checkpoint.folder.quotedForShell) --lr RATE continues from it"
    }
    return GraftError(.invalidData, found, advice: advice + ".")
  }

  /// The mean loss above which a run counts as diverged: a hundred times that of uniform probabilities; for
  /// regression 10⁴ times that of zeros, at least 10⁴. A new head on large features can
  /// start at ten times the loss of uniform probabilities.
  private static func divergence(
    _ options: FineTuner.Options, classCount: Int, lossOfZeros: Double
  ) -> Double {
    if options.loss?.measure != nil { return 1e4 * max(lossOfZeros, 1) }
    let share = options.teacher.map {
      1 - $0.alpha + $0.alpha * $0.temperature * $0.temperature
    }
    return 100 * log(Double(max(2, classCount))) * (share ?? 1)
  }

  /// Whether too many epochs have passed without a better one.
  private var isExhausted: Bool {
    guard let patience = options.earlyStop, validation != nil else { return false }
    return history.count - max(bestEpoch, pruningRounds) >= patience
  }

  private func factor(update: Int) -> Double {
    options.schedule.factor(update: update, perEpoch: updatesPerEpoch, epochs: options.epochs)
  }

  /// Without validation data, the last epoch is best; otherwise the one with the highest accuracy (for maps
  /// the highest mean intersection over union), and with the lowest loss if they are equal or absent.
  private func isBetter(_ epoch: FineTuner.Epoch) -> Bool {
    // A network that is not pruned as much as it will be is no result.
    guard validation != nil, bestEpoch >= max(1, pruningRounds) else { return true }
    let (new, old) = (score(of: epoch), score(of: history[bestEpoch - 1]))
    if new != old { return new > old }
    return (epoch.validationLoss ?? .infinity)
      < (history[bestEpoch - 1].validationLoss ?? .infinity)
  }

  private func score(of epoch: FineTuner.Epoch) -> Double {
    epoch.validationMeanIoU ?? epoch.validationAccuracy ?? 0
  }

  func rows(of batch: Int, in order: [Int]) -> ArraySlice<Int> {
    order[(batch * options.batchSize)..<min((batch + 1) * options.batchSize, order.count)]
  }

  /// Runs steps with individual learning rates until `body` ends the sweep.
  /// - Parameter rate: the rate of the first parameter group for a step, from 0.
  func sweep(
    steps: Int, rate: (Int) -> Double, _ body: (_ step: Int, _ loss: Double) throws -> Bool
  ) throws {
    var order: [Int] = []
    for number in 0..<steps {
      let (epoch, batch) = (number / batchCount + 1, number % batchCount)
      if batch == 0 {
        order = try self.order(of: epoch)
        try feed.prepare(epoch: epoch - 1, order: order) { _ in }
      }
      let result = try step(
        rows(of: batch, in: order), batch: batch, epoch: epoch, rate: rate(number))
      guard try body(number, result.loss) else { return }
    }
  }

  /// - Parameter updates: whether weights change; if not, gradients are accumulated from 0.
  @discardableResult
  func step(
    _ rows: ArraySlice<Int>, batch: Int, epoch: Int, rate: Double, updates: Bool = true
  ) throws -> (loss: Double, decisions: Decisions) {
    let settings = LoadedTrainer.StepSettings(
      hyperparameters: plan.specification.groupNames.indices.map { group in
        LoadedTrainer.Hyperparameters(
          learningRate: Float(rate * plan.groupRates[group]), momentum: Float(options.momentum),
          weightDecay: Float(options.weightDecay))
      },
      clipNorm: options.clipNorm.map { Float($0) },
      temperature: options.teacher.map { Float($0.temperature) } ?? 1,
      continuesAccumulation: updates && batch % options.accumulate != 0,
      awaitsMicroBatches: !updates
        || (batch + 1) % options.accumulate != 0 && batch + 1 < batchCount)
    let fed = try feed.next(rows, epoch: epoch - 1, batch: batch)
    var inputs = fed.features
    let stored = plan.targetWidth == nil ? nil : inputs.popLast()
    let positions = plan.task == .positions ? stored : nil
    if isClassification || plan.task == .positions {
      let share = Float(microBatchShare(batch))
      var targets = encoder.encode(
        labels: positions.map { $0.map { Int($0) } } ?? rows.map { data.labels[$0] })
      fed.mixing?.mixRows(&targets, count: rows.count)
      inputs.append(share == 1 ? targets : targets.map { $0 * share })
      if let teacher = options.teacher, let logits = fed.teacherLogits {
        inputs.append(teacher.targets(logits, count: rows.count).map { $0 * share })
      }
    } else if plan.task == .labels {
      let share = Float(microBatchShare(batch)) / Float(rows.count * classCount)
      var targets = pairs(rows).map { $0 * share }
      fed.mixing?.mixRows(&targets, count: rows.count)
      inputs.append(targets)
    } else {
      inputs.append(stored ?? [])
      inputs.append(
        Array(repeating: 1 / Float(rows.count * classCount), count: rows.count))
    }
    let result = try trainer.step(batch: rows.count, inputs: inputs, settings: settings)
    let share = plan.task == .regression ? 1 : microBatchShare(batch)
    let loss = result.loss.reduce(0.0) { $0 + Double($1) } / share
    if !loss.isFinite {
      try checkItems(rows, fed, result.logits, isFirst: epoch == 1 && batch == 0)
    }
    if let positions { return (loss, decisions(result.logits, positions)) }
    // The class with the larger weight counts as correct.
    let partners = (fed.mixing?.share ?? 1) < 0.5 ? rows.suffix(1) + rows.dropLast() : rows
    return (loss, decisions(result.logits, Array(partners)))
  }

  /// The decisions of rows [positions, classes] of all items in a batch.
  private func decisions(_ logits: [Float], _ classes: [Float]) -> Decisions {
    let best = PositionScores(logits[...], units: classCount, stride: 1).best()
    var found = Decisions()
    for (own, prediction) in zip(classes, best) where own != Float(LabelMap.ignored) {
      found.count += 1
      if own == Float(prediction) { found.right += 1 }
    }
    return found
  }

  /// Targets [rows, classes, 2] for binary cross-entropy: (1 − t, t).
  private func pairs(_ rows: ArraySlice<Int>) -> [Float] {
    rows.flatMap { row in
      data.values[(row * classCount)..<((row + 1) * classCount)].flatMap { [1 - $0, $0] }
    }
  }

  /// The weight of a micro-batch in the mean over all micro-batches of an update.
  private func microBatchShare(_ batch: Int) -> Double {
    guard options.accumulate > 1 else { return 1 }
    let first = batch / options.accumulate * options.accumulate
    return 1 / Double(min(options.accumulate, batchCount - first))
  }

  func decisions(
    _ logits: [Float], _ rows: [Int], of data: TrainingData? = nil
  ) -> Decisions {
    guard plan.task != .regression else { return Decisions() }
    let data = data ?? self.data
    var found = Decisions()
    for (position, row) in rows.enumerated() {
      let own = logits[(position * classCount)..<((position + 1) * classCount)]
      guard data.labels.isEmpty else {
        found += Decisions(
          right: Scores.best(1, of: own).first == data.labels[row] ? 1 : 0, count: 1)
        continue
      }
      let answers = data.values[(row * classCount)..<((row + 1) * classCount)]
      found += Decisions(
        right: zip(own, answers).count { ($0 >= 0) == ($1 >= 0.5) }, count: classCount)
    }
    return found
  }
}
