// Evaluation of networks with a class for every position on cached items.

import GraftData
import GraftRuntime

extension TrainingData {
  /// The metrics of the trainer's current network on `items`.
  /// - Parameter observe: called for each item with its metrics and the predicted classes.
  /// - Throws: ``GraftError`` as the trainer does.
  func positionMetrics(
    of trainer: LoadedTrainer, _ items: [Int], classCount: Int, batchSize: Int,
    observe: (_ item: Int, _ own: PositionMetrics, _ predicted: [UInt8]) -> Void = { _, _, _ in }
  ) throws -> PositionMetrics {
    var metrics = try PositionMetrics(classCount: classCount, outputKind: .logits)
    for start in stride(from: 0, to: items.count, by: batchSize) {
      let rows = items[start..<min(start + batchSize, items.count)]
      var inputs = try features.gather(rows)
      let classes = (inputs.popLast() ?? []).map { UInt8($0) }
      let logits = try trainer.evaluate(batch: rows.count, inputs: inputs)
      let (width, count) = (logits.count / rows.count, classes.count / rows.count)
      for (position, item) in rows.enumerated() {
        let scores = PositionScores(
          logits[position * width..<(position + 1) * width], units: classCount, stride: 1)
        let labels = Array(classes[position * count..<(position + 1) * count])
        var own = try PositionMetrics(classCount: classCount, outputKind: .logits)
        let predicted = try own.add(scores, labels: labels)
        metrics.add(own)
        observe(item, own, predicted)
      }
    }
    return metrics
  }
}
