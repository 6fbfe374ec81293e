// How the network that a run keeps does on the items that judge it: its logits, confusions, how far
// its confidence can be trusted, and where it is most wrong.

import GraftData
import GraftDiagnostics
import GraftRuntime

/// What was found of a classifier.
struct Findings {
  /// An item that was predicted as another class.
  struct Mistake {
    /// The row of the data, and its file.
    var item: Int
    var name: String
    var label: Int
    var predicted: Int
    /// The probability of the predicted class, and of its own.
    var confidence: Double
    var ownProbability: Double
  }

  /// False where nothing was held out: the items are those that were learned from.
  let isHeldOut: Bool
  let metrics: ClassificationMetrics
  let calibration: Calibration
  /// At the temperature that was fitted on the same items.
  let scaled: Calibration
  /// Those with the highest loss, the worst first.
  let mistakes: [Mistake]

  /// The most mistakes that are kept.
  static let mistakeLimit = 12

  /// Runs the trainer's network, as it stands, on items of a classification.
  /// - Throws: ``GraftError`` as the trainer does.
  init(
    _ trainer: LoadedTrainer, on data: TrainingData, _ items: [Int], isHeldOut: Bool,
    batchSize: Int
  ) throws {
    let classCount = trainer.description.classCount
    var logits: [Float] = []
    logits.reserveCapacity(items.count * classCount)
    for start in stride(from: 0, to: items.count, by: batchSize) {
      let rows = items[start..<min(start + batchSize, items.count)]
      logits += try trainer.evaluate(batch: rows.count, inputs: try data.features.gather(rows))
    }
    let labels = items.map { data.labels[$0] }
    var metrics = try ClassificationMetrics(classCount: classCount, outputKind: .logits)
    try metrics.add(outputs: logits, labels: labels)
    self.metrics = metrics
    self.isHeldOut = isHeldOut
    calibration = try Calibration(logits: logits, labels: labels, classCount: classCount)
    scaled = try Calibration(
      logits: logits, labels: labels, classCount: classCount,
      temperature: try Calibration.fittedTemperature(
        logits: logits, labels: labels, classCount: classCount))
    let wrong = items.enumerated().compactMap { position, item -> Mistake? in
      let row = logits[position * classCount..<(position + 1) * classCount]
      let label = labels[position]
      guard let predicted = Scores.best(1, of: row).first, predicted != label else { return nil }
      let probabilities = Scores.softmax(row)
      return Mistake(
        item: item, name: data.names[item], label: label, predicted: predicted,
        confidence: Double(probabilities[predicted]),
        ownProbability: Double(probabilities[label]))
    }
    mistakes = Array(
      wrong.sorted { ($0.ownProbability, $0.item) < ($1.ownProbability, $1.item) }
        .prefix(Self.mistakeLimit))
  }
}
