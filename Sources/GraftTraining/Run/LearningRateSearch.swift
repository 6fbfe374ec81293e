// The range test for a learning rate: a short run whose rate climbs from step to step, the curve of
// its loss, and what to make of it.

import Foundation
import GraftData
import GraftDiagnostics

extension FineTuner {
  /// What a range test found (Smith, "Cyclical learning rates for training neural networks", WACV
  /// 2017).
  public struct LearningRateSearch: Encodable, Sendable {
    public struct Point: Encodable, Sendable {
      public var learningRate: Double
      /// The loss of the step's batch.
      public var loss: Double
      /// The mean of the losses around it, weighted by a normal distribution over the steps.
      public var smoothedLoss: Double

      enum CodingKeys: String, CodingKey {
        case loss
        case learningRate = "lr"
        case smoothedLoss = "smoothed_loss"
      }
    }

    public var points: [Point]
    /// Where the smoothed loss falls most steeply over the logarithm of the rate, before its
    /// minimum.
    public var steepest: Double
    /// A tenth of the rate with the lowest smoothed loss.
    public var minimumTenth: Double
    /// The lesser of ``steepest`` and ``minimumTenth``.
    public var suggestion: Double

    enum CodingKeys: String, CodingKey {
      case points, steepest, suggestion
      case minimumTenth = "minimum_tenth"
    }

    /// The rates that are tried.
    static let range = 1e-6...10.0

    /// The rate of a step on the geometric ramp.
    static func rate(step: Int, of steps: Int) -> Double {
      let share = Double(step) / Double(max(1, steps - 1))
      return range.lowerBound * pow(range.upperBound / range.lowerBound, share)
    }

    /// - Parameter losses: of the steps so far, of `steps` on the ramp; finite.
    /// - Throws: ``GraftError`` of kind `invalidData` where there are too few to say anything.
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
      // The ramp is even in the logarithm, so slopes are differences of neighbors.
      func slope(_ index: Int) -> Double { smoothed[index + 1] - smoothed[index - 1] }
      let steep = (1..<max(2, lowest)).min { slope($0) < slope($1) }
      steepest = rates[steep ?? 1]
      suggestion = min(steepest, minimumTenth)
    }
  }

  /// Tries learning rates from 10⁻⁶ to 10 on a geometric ramp over an epoch, but at least 100 and
  /// at most 400 steps, and stops where the loss blows up. Nothing is written or kept.
  ///
  /// A head's own learning rate and layer decay keep their proportion to the rate that is tried.
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
      // An average that forgets, without the bias of its start (Kingma and Ba 2015, section 3).
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
