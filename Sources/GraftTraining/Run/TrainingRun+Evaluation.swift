// The evaluation of held-out items during a run.

import Graft
import GraftData
import GraftRuntime

extension TrainingRun {
  /// The mean loss, without smoothing and class weights, the accuracy, and for maps the mean intersection over
  /// union.
  struct Held {
    var loss: Double
    var accuracy: Double?
    var meanIoU: Double?
  }

  /// Evaluates maps.
  private func evaluatePositions(_ data: TrainingData, _ items: [Int]) throws -> Held {
    let metrics = try data.positionMetrics(
      of: trainer, items, classCount: classCount, batchSize: options.batchSize)
    return Held(
      loss: metrics.loss ?? .nan, accuracy: metrics.accuracy,
      meanIoU: metrics.meanIntersectionOverUnion)
  }

  func evaluate(_ data: TrainingData, _ items: [Int]) throws -> Held {
    if plan.task == .positions { return try evaluatePositions(data, items) }
    var metrics =
      isClassification
      ? try ClassificationMetrics(classCount: classCount, outputKind: .logits) : nil
    var (sum, found) = (0.0, Decisions())
    let measure = options.loss?.measure ?? .squared
    for start in stride(from: 0, to: items.count, by: options.batchSize) {
      let rows = items[start..<min(start + options.batchSize, items.count)]
      var inputs = try data.features.gather(rows)
      let stored = plan.targetWidth == nil ? nil : inputs.popLast()
      let outputs = try trainer.evaluate(batch: rows.count, inputs: inputs)
      if isClassification {
        try metrics?.add(outputs: outputs, labels: rows.map { data.labels[$0] })
      } else if plan.task == .labels {
        found += decisions(outputs, Array(rows), of: data)
        for (position, row) in rows.enumerated() {
          for index in 0..<classCount {
            sum += Scores.binaryCrossEntropy(
              logit: Double(outputs[position * classCount + index]),
              target: Double(data.values[row * classCount + index]))
          }
        }
      } else {
        for (output, target) in zip(outputs, stored ?? []) {
          sum += measure(Double(output - target))
        }
      }
    }
    if let metrics { return Held(loss: metrics.loss ?? .nan, accuracy: metrics.top1) }
    return Held(
      loss: sum / Double(max(1, items.count * classCount)), accuracy: found.accuracy)
  }
}
