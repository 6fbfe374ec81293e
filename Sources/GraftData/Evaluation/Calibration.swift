// Calibration of a classifier: reliability diagram, expected calibration error, temperature scaling.

import Glibc
import GraftDiagnostics

/// The calibration of a classifier (Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural
/// Networks").
public struct Calibration: Hashable, Sendable {
  /// The items whose confidence is in ((m − 1) / M, m / M].
  public struct Bin: Hashable, Sendable {
    public var count = 0
    /// The mean probability of the predicted class; 0 without items.
    public var confidence = 0.0
    /// The fraction of correct items; 0 without items.
    public var accuracy = 0.0
  }

  /// The divisor of the logits.
  public let temperature: Double
  public let bins: [Bin]
  /// Items with finite logits.
  public let count: Int
  /// Σ bins |share of the items| · |accuracy − confidence|: equation 3 of the paper.
  public let expectedError: Double
  /// The mean cross-entropy in nats at this temperature.
  public let loss: Double

  /// - Parameters:
  ///   - logits: [items, classes], row-major.
  ///   - labels: the class of each item.
  ///   - binCount: M; the paper's tables have 15.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if the counts do not fit.
  public init(
    logits: [Float], labels: [Int], classCount: Int, temperature: Double = 1, binCount: Int = 15
  ) throws {
    try Self.check(logits, labels, classCount)
    guard binCount > 0, temperature > 0 else {
      throw GraftError(
        .invalidArgument, "calibration in \(binCount) bins at temperature \(temperature)")
    }
    var bins = Array(repeating: Bin(), count: binCount)
    var (count, loss) = (0, 0.0)
    for (item, label) in labels.enumerated() {
      let row = logits[item * classCount..<(item + 1) * classCount]
      guard row.allSatisfy(\.isFinite), let greatest = row.max(),
        let best = row.firstIndex(of: greatest)
      else { continue }
      let sum = row.reduce(0.0) { $0 + exp((Double($1) - Double(greatest)) / temperature) }
      let confidence = 1 / sum
      let bin = max(0, min(binCount - 1, Int((confidence * Double(binCount)).rounded(.up)) - 1))
      bins[bin].count += 1
      bins[bin].confidence += confidence
      if best - row.startIndex == label { bins[bin].accuracy += 1 }
      let own = Double(row[row.startIndex + label])
      loss += log(sum) - (own - Double(greatest)) / temperature
      count += 1
    }
    for index in bins.indices where bins[index].count > 0 {
      bins[index].confidence /= Double(bins[index].count)
      bins[index].accuracy /= Double(bins[index].count)
    }
    self.bins = bins
    self.temperature = temperature
    self.count = count
    expectedError = bins.reduce(0) {
      $0 + Double($1.count) / Double(max(1, count)) * abs($1.accuracy - $1.confidence)
    }
    self.loss = loss / Double(max(1, count))
  }

  /// The temperatures that ``fittedTemperature(logits:labels:classCount:)`` chooses from.
  public static let temperatures = 0.05...20.0

  /// Whether the temperature is at a bound of that range, so that a better one may be outside.
  public var isAtBound: Bool {
    temperature == Self.temperatures.lowerBound || temperature == Self.temperatures.upperBound
  }

  /// The temperature in ``temperatures`` that minimizes the mean cross-entropy (section 4.2 of the paper),
  /// which is convex in 1 / T.
  /// - Throws: as ``init(logits:labels:classCount:temperature:binCount:)``.
  public static func fittedTemperature(
    logits: [Float], labels: [Int], classCount: Int
  ) throws -> Double {
    try check(logits, labels, classCount)
    // The derivatives of the cross-entropy with respect to b = 1 / T: the expected logit minus the label's
    // logit, and the variance of the logits.
    func derivatives(_ b: Double) -> (slope: Double, curvature: Double) {
      var (slope, curvature) = (0.0, 0.0)
      for (item, label) in labels.enumerated() {
        let row = logits[item * classCount..<(item + 1) * classCount]
        guard row.allSatisfy(\.isFinite), let greatest = row.max().map(Double.init) else {
          continue
        }
        var (sum, mean, square) = (0.0, 0.0, 0.0)
        for logit in row {
          let below = Double(logit) - greatest
          let power = exp(b * below)
          sum += power
          mean += power * below
          square += power * below * below
        }
        mean /= sum
        slope += mean - (Double(row[row.startIndex + label]) - greatest)
        curvature += square / sum - mean * mean
      }
      return (slope, curvature)
    }
    var (low, high) = (1 / temperatures.upperBound, 1 / temperatures.lowerBound)
    if derivatives(low).slope >= 0 { return temperatures.upperBound }
    if derivatives(high).slope <= 0 { return temperatures.lowerBound }
    // Newton's method, with bisection when a step leaves the bracket of the minimum.
    var b = 1.0
    for _ in 0..<60 {
      let (slope, curvature) = derivatives(b)
      if slope < 0 { low = b } else { high = b }
      let next = b - slope / curvature
      let step = next > low && next < high ? next : (low + high) / 2
      if abs(step - b) <= 1e-10 * b { return 1 / step }
      b = step
    }
    return 1 / b
  }

  private static func check(_ logits: [Float], _ labels: [Int], _ classCount: Int) throws {
    let (expected, overflow) = labels.count.multipliedReportingOverflow(by: classCount)
    guard classCount > 0, !overflow, logits.count == expected,
      labels.allSatisfy((0..<classCount).contains)
    else {
      throw GraftError(
        .invalidArgument,
        "\(logits.count) logits for \(labels.count) items of \(classCount) classes")
    }
  }
}
