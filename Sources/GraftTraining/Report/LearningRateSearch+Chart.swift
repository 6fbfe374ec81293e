// The chart of a learning rate range test.

import Foundation
import GraftData

extension FineTuner.LearningRateSearch {
  /// A chart in SVG: the smoothed loss of every step over the logarithm of the learning rate, with the
  /// suggested rate.
  public func svg() -> String {
    let rates = points.map(\.learningRate)
    let smoothed = points.map { Drawing.Point($0.learningRate, $0.smoothedLoss) }
    let losses = points.map(\.smoothedLoss)
    let chart = LineChart(
      title: "Loss by learning rate",
      series: [
        .init(
          name: "loss of the step", style: .training,
          points: points.map { Drawing.Point($0.learningRate, $0.loss) }, hasLine: false),
        .init(name: "smoothed", style: .training, points: smoothed, hasDots: false),
      ],
      horizontal: .rates((rates.first ?? 1)...max(rates.last ?? 10, rates.first ?? 1)),
      format: { String(format: "%.4g", $0) },
      marked: (suggestion, String(format: "suggestion %.2g", suggestion)),
      // Values above twice the first are clipped.
      ceiling: min(losses.max() ?? 1, 2 * (losses.first ?? 1)), hasTitle: true,
      width: 720, height: 420)
    return chart.drawing().svg(isFile: true)
  }

  /// Writes ``svg()`` to a file atomically.
  public func writeChart(to path: String) throws {
    try FileReplacement(at: path).write(Array(svg().utf8))
  }
}
