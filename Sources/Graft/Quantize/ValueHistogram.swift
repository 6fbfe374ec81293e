// The distribution of a value's numbers over the calibration data, and the ranges that calibrators choose from it.

import Foundation

/// A histogram of the numbers other than 0 that covers whatever it is given: its width doubles when a number lies
/// outside.
struct ValueHistogram {
  /// Bins on either side of 0.
  private static let side = 2048

  private(set) var low = Float.infinity
  private(set) var high = -Float.infinity
  /// Whether a number was infinite or no number.
  private(set) var isBroken = false
  private var counts = [Double](repeating: 0, count: 2 * side)
  /// The size of the largest number that it covers.
  private var reach: Float = 0

  var isEmpty: Bool { !(low <= high) }

  mutating func add(_ numbers: [Float]) {
    var (least, most) = (Float.infinity, -Float.infinity)
    for number in numbers {
      guard number.isFinite else {
        isBroken = true
        continue
      }
      least = min(least, number)
      most = max(most, number)
    }
    guard least <= most else { return }
    (low, high) = (min(low, least), max(high, most))
    grow(to: max(abs(least), abs(most)))
    guard reach > 0 else { return }
    let scale = Float(Self.side) / reach
    let last = counts.count - 1
    counts.withUnsafeMutableBufferPointer { counts in
      // Zeros are exact in any range, and would outweigh everything else behind a relu.
      for number in numbers where number.isFinite && number != 0 {
        let bin = Int((number * scale).rounded(.down)) + Self.side
        counts[max(0, min(last, bin))] += 1
      }
    }
  }

  private mutating func grow(to size: Float) {
    guard size > reach else { return }
    guard reach > 0 else {
      reach = size
      return
    }
    while reach < size, (reach * 2).isFinite {
      reach *= 2
      var merged = [Double](repeating: 0, count: counts.count)
      for bin in counts.indices {
        merged[Self.side + Int((Double(bin - Self.side) / 2).rounded(.down))] += counts[bin]
      }
      counts = merged
    }
  }

  /// The range to quantize; nil if nothing finite was seen.
  func range(by method: CalibrationMethod) -> ClosedRange<Float>? {
    guard !isEmpty, !isBroken else { return nil }
    guard reach > 0 else { return low...high }
    switch method {
    case .minmax: return low...high
    case .percentile: return percentile(0.0001)
    case .mse: return best { meanSquaredError($0) }
    case .entropy: return best { divergence($0) }
    }
  }

  private var step: Double { Double(reach) / Double(Self.side) }

  private func center(_ bin: Int) -> Double { (Double(bin - Self.side) + 0.5) * step }

  /// The range without the outermost `share` of the numbers, half of it on each side that has both signs.
  private func percentile(_ share: Double) -> ClosedRange<Float> {
    let total = counts.reduce(0, +)
    let cut = total * share / (low < 0 && high > 0 ? 2 : 1)
    var (first, last) = (0, counts.count - 1)
    var sum = 0.0
    if low < 0 {
      while first < last, sum + counts[first] <= cut {
        sum += counts[first]
        first += 1
      }
    }
    sum = 0
    if high > 0 {
      while last > first, sum + counts[last] <= cut {
        sum += counts[last]
        last -= 1
      }
    }
    let lower = low < 0 ? max(low, Float(Double(first - Self.side) * step)) : low
    let upper = high > 0 ? min(high, Float(Double(last + 1 - Self.side) * step)) : high
    return lower <= upper ? lower...upper : low...high
  }

  /// The range with the least cost among those that shrink both ends alike.
  private func best(_ cost: (ClosedRange<Double>) -> Double) -> ClosedRange<Float> {
    var (least, chosen) = (Double.infinity, low...high)
    for part in 0..<80 {
      let factor = Float(1 - 0.0125 * Double(part))
      let range = low * factor...high * factor
      let found = cost(Double(range.lowerBound)...Double(range.upperBound))
      if found < least { (least, chosen) = (found, range) }
    }
    return chosen
  }

  /// The mean squared error of rounding to 256 numbers within `range`, of numbers outside that of the nearest end.
  private func meanSquaredError(_ range: ClosedRange<Double>) -> Double {
    let (low, high) = (min(0, range.lowerBound), max(0, range.upperBound))
    let width = (high - low) / 255
    let rounding = width * width / 12
    return counts.indices.reduce(0) { sum, bin in
      guard counts[bin] > 0 else { return sum }
      let x = center(bin)
      let past = x < low ? low - x : x > high ? x - high : 0
      return sum + counts[bin] * (past > 0 ? past * past : rounding)
    }
  }

  /// The Kullback–Leibler divergence of the numbers, those outside `range` at its ends, from the same spread evenly
  /// over each of 256 parts of the range.
  private func divergence(_ range: ClosedRange<Double>) -> Double {
    let first = max(0, Int((range.lowerBound / step).rounded(.down)) + Self.side)
    let last = min(counts.count - 1, Int((range.upperBound / step).rounded(.up)) - 1 + Self.side)
    guard last - first >= 255 else { return .infinity }
    var clipped = Array(counts[first...last])
    let inside = clipped
    clipped[0] += counts[..<first].reduce(0, +)
    clipped[clipped.count - 1] += counts[(last + 1)...].reduce(0, +)
    let total = clipped.reduce(0, +)
    var spread = [Double](repeating: 0, count: clipped.count)
    for part in 0..<256 {
      let bins = part * inside.count / 256..<(part + 1) * inside.count / 256
      let used = bins.filter { clipped[$0] > 0 }
      guard !used.isEmpty else { continue }
      let each = inside[bins].reduce(0, +) / Double(used.count)
      for bin in used { spread[bin] = each }
    }
    let kept = spread.reduce(0, +)
    guard kept > 0 else { return .infinity }
    var divergence = 0.0
    for (p, q) in zip(clipped, spread) where p > 0 {
      divergence += p / total * log((p / total) / max(q / kept, 1e-12))
    }
    return divergence
  }
}
