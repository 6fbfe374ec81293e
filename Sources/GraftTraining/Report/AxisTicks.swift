// Tick positions at round numbers.

import Foundation

/// The ticks of an axis.
public enum AxisTicks {
  /// Multiples of 1, 2 or 5 times a power of ten that enclose the values, about five of them.
  /// - Parameter limits: the range that ticks must not leave.
  public static func values(
    from low: Double, to high: Double, within limits: ClosedRange<Double>? = nil
  ) -> [Double] {
    let spread = high > low ? high - low : max(abs(high), 1e-12)
    let magnitude = pow(10, floor(log10(spread / 4)))
    let step = magnitude * ([1, 2, 5, 10].first { $0 * magnitude >= spread / 4 } ?? 10)
    let (from, to) = high > low ? (low, high) : (low - spread / 2, high + spread / 2)
    let (first, last) = (floor(from / step + 1e-9), ceil(to / step - 1e-9))
    guard first.isFinite, last.isFinite, last - first < 100 else { return [low, high] }
    let edge = step * 1e-6
    let (least, most) = (
      (limits?.lowerBound ?? -.infinity) - edge, (limits?.upperBound ?? .infinity) + edge
    )
    // Dividing by the inverse of the step, if that is an integer, gives 0.3 instead of 0.30000000000000004.
    let inverse = (1 / step).rounded()
    let all = stride(from: first, through: last, by: 1).map { (index: Double) in
      step < 1 ? index / inverse : index * step
    }
    return all.filter { tick in tick >= least && tick <= most }
  }
}
