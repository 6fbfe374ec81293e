// The evaluation of the trained network for the report: logits, confusion matrix, calibration, and the
// mistakes with the largest loss.

import GraftData
import GraftDiagnostics
import GraftRuntime

/// The evaluation of a classifier.
struct Findings {
  /// A misclassified item.
  struct Mistake {
    /// The row of the data, and its file.
    var item: Int
    var name: String
    var label: Int
    var predicted: Int
    /// The probability of the predicted class, and of the true class.
    var confidence: Double
    var ownProbability: Double
  }

  /// False if nothing was held out and the items are the training items.
  let isHeldOut: Bool
  let metrics: ClassificationMetrics
  let calibration: Calibration
  /// The calibration at the temperature that was fitted on the same items.
  let scaled: Calibration
  /// The mistakes with the largest loss, in descending order.
  let mistakes: [Mistake]

  /// The maximum number of mistakes.
  static let mistakeLimit = 12

  /// Evaluates the trainer's current network on the items of a classification.
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
