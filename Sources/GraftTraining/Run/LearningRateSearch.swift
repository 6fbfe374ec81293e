// The learning rate range test: a short run with an increasing learning rate, the curve of its loss, and a
// suggested rate.

import Foundation
import GraftData
import GraftDiagnostics

extension FineTuner {
  /// The result of a learning rate range test (Smith, "Cyclical learning rates for training neural networks",
  /// WACV 2017).
  public struct LearningRateSearch: Encodable, Sendable {
    public struct Point: Encodable, Sendable {
      public var learningRate: Double
      /// The loss of the step's batch.
      public var loss: Double
      /// The losses smoothed with a Gaussian over the steps.
      public var smoothedLoss: Double

      enum CodingKeys: String, CodingKey {
        case loss
        case learningRate = "lr"
        case smoothedLoss = "smoothed_loss"
      }
    }

    public var points: [Point]
    /// The rate at which the smoothed loss falls most steeply over the logarithm of the rate, before its
    /// minimum.
    public var steepest: Double
    /// A tenth of the rate with the lowest smoothed loss.
    public var minimumTenth: Double
    /// The smaller of ``steepest`` and ``minimumTenth``.
    public var suggestion: Double

    enum CodingKeys: String, CodingKey {
      case points, steepest, suggestion
      case minimumTenth = "minimum_tenth"
    }

    /// The range of rates.
    static let range = 1e-6...10.0

    /// The rate of a step; rates grow geometrically.
    static func rate(step: Int, of steps: Int) -> Double {
      let share = Double(step) / Double(max(1, steps - 1))
      return range.lowerBound * pow(range.upperBound / range.lowerBound, share)
    }

    /// - Parameter losses: the finite losses of the first steps of a ramp of `steps`.
    /// - Throws: ``GraftError`` of kind `invalidData` if there are too few.
    init(losses: [Double], of steps: Int) throws {
      guard losses.count >= 10 else {
        throw GraftError(
          .invalidData,
          "the loss diverged after \(losses.count) steps, at a learning rate of "
            + String(format: "%.2g", Self.rate(step: losses.count, of: steps)))
      }
      let width = Double(steps) / 25
      let smoothed = losses.indices.map { center -> Double in
        var (sum, total) = (0.0, 0.0)
        for (index, loss) in losses.enumerated() {
          let distance = Double(index - center) / width
          let weight = exp(-distance * distance / 2)
          sum += weight * loss
          total += weight
        }
        return sum / total
      }
      let rates = losses.indices.map { Self.rate(step: $0, of: steps) }
      points = losses.indices.map {
        Point(learningRate: rates[$0], loss: losses[$0], smoothedLoss: smoothed[$0])
      }
      let lowest = smoothed.indices.min { smoothed[$0] < smoothed[$1] } ?? 0
      minimumTenth = rates[lowest] / 10
      // The rates are evenly spaced on a logarithmic scale, so slopes are differences of neighbors.
      func slope(_ index: Int) -> Double { smoothed[index + 1] - smoothed[index - 1] }
      let steep = (1..<max(2, lowest)).min { slope($0) < slope($1) }
      steepest = rates[steep ?? 1]
      suggestion = min(steepest, minimumTenth)
    }
  }

  /// Runs steps with learning rates that grow geometrically from 10⁻⁶ to 10 over an epoch, but at least 100
  /// and at most 400 steps, and stops if the loss diverges. Writes nothing.
  ///
  /// The head's learning rate and layer decay keep their ratio to the rate under test.
  /// - Throws: ``GraftError`` as a run does before its first epoch.
  public mutating func findLearningRate(
    observe: (Event) throws -> Void = { _ in }
  ) throws -> LearningRateSearch {
    let plan = try plan(observe: observe)
    try chooseRoom(plan, observe: observe)
    let ready = try prepare(plan, observe: observe)
    var own = ready.stepOptions(options)
    (own.metrics, own.resumes) = (nil, false)
    let run = try TrainingRun(
      options: own, plan: ready.plan, trainer: ready.trainer, data: ready.data,
      items: ready.items, validation: nil, classCount: ready.plan.outputWidth, feed: ready.feed,
      checkpoint: nil)
    let steps = min(max(100, run.batchCount), 400)
    var losses: [Double] = []
    var (average, lowest) = (0.0, Double.infinity)
    try run.sweep(steps: steps, rate: { LearningRateSearch.rate(step: $0, of: steps) }) {
      step, loss in
      guard loss.isFinite else { return false }
      losses.append(loss)
      // Bias-corrected exponential moving average (Kingma and Ba 2015, section 3).
      average = 0.9 * average + 0.1 * loss
      let corrected = average / (1 - pow(0.9, Double(step + 1)))
      lowest = min(lowest, corrected)
      let rate = LearningRateSearch.rate(step: step, of: steps)
      try observe(
        .doing(
          "step \(step + 1) of \(steps), rate \(String(format: "%.2g", rate)), "
            + "loss \(String(format: "%.4f", loss))"))
      return corrected <= 4 * lowest
    }
    return try LearningRateSearch(losses: losses, of: steps)
  }
}
