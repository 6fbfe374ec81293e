// The resampling weights of one axis. They equal Pillow's (src/libImaging/Resample.c, 8-bit path): the filter
// is scaled to the source, clipped at the borders, normalized in double precision and rounded to 22
// fractional bits.

import Glibc

/// The interpolation filter of resizing.
public enum ResampleFilter: String, Hashable, Sendable, CaseIterable {
  /// A triangle of radius 1.
  case bilinear
  /// Keys' cubic of radius 2, with a = −½ with antialiasing (as Pillow) and a = −¾ without (as PyTorch).
  case bicubic

  fileprivate var radius: Double { self == .bilinear ? 1 : 2 }

  fileprivate func value(at distance: Double, sharpness a: Double) -> Double {
    let x = abs(distance)
    switch self {
    case .bilinear: return x < 1 ? 1 - x : 0
    case .bicubic:
      if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    }
  }
}

/// For each output position of a window, the source positions that it sums and their weights.
///
/// A weight of 22 fractional bits is stored as two 16-bit parts, `high · 2¹² + low`: 16-bit products are one
/// vector instruction on every x86-64, 32-bit products only since SSE 4.1, and the two exact sums combine to
/// the same bits.
struct ResampleWeights {
  /// The fractional bits of a weight: an 8-bit pixel, two bits of head room, 22 bits of weight.
  static let fractionBits: Int32 = 22
  static let lowBits: Int32 = 12

  /// The first source position of each output position.
  private(set) var starts: [Int] = []
  /// The number of source positions of each output position.
  private(set) var counts: [Int] = []
  /// The offset of each output position's weights in ``high`` and ``low``.
  private(set) var offsets: [Int] = []
  private(set) var high: [Int16] = []
  private(set) var low: [Int16] = []
  /// The weights without antialiasing.
  private(set) var exact: [Double] = []
  /// All source positions that are read.
  private(set) var sources = 0..<0

  /// The weights with Pillow's antialiasing.
  /// - Parameters:
  ///   - source: The length of the source axis.
  ///   - target: The length that all of the source would be resized to.
  ///   - window: The output positions to compute, within `0..<target`.
  init(source: Int, target: Int, window: Range<Int>, filter: ResampleFilter) {
    let scale = Double(source) / Double(target)
    let support = filter.radius * max(scale, 1)
    var weights: [Double] = []
    for position in window {
      let center = (Double(position) + 0.5) * scale
      let start = min(max(0, Int(center - support + 0.5)), source - 1)
      let end = max(start + 1, min(source, Int(center + support + 0.5)))
      weights.removeAll(keepingCapacity: true)
      var sum = 0.0
      for neighbor in start..<end {
        let distance = (Double(neighbor) - center + 0.5) / max(scale, 1)
        let weight = filter.value(at: distance, sharpness: -0.5)
        weights.append(weight)
        sum += weight
      }
      if sum != 0 { for index in weights.indices { weights[index] /= sum } }
      append(weights, from: start)
    }
    sources = span
  }

  /// The weights without antialiasing, in ``exact``: the nearest 2 or 4 pixels, clamped to the border, as in
  /// PyTorch's `interpolate(align_corners=False)`.
  init(interpolating source: Int, target: Int, window: Range<Int>, filter: ResampleFilter) {
    let scale = Double(source) / Double(target)
    let reach = Int(filter.radius)
    for position in window {
      let center = (Double(position) + 0.5) * scale
      let first = Int((center - 0.5).rounded(.down)) - reach + 1
      let start = min(max(0, first), source - 1)
      let end = min(max(start, first + 2 * reach - 1), source - 1)
      var weights = [Double](repeating: 0, count: end - start + 1)
      for neighbor in first..<first + 2 * reach {
        let distance = Double(neighbor) + 0.5 - center
        weights[min(max(neighbor, start), end) - start] +=
          filter.value(at: distance, sharpness: -0.75)
      }
      starts.append(start)
      counts.append(weights.count)
      offsets.append(exact.count)
      exact += weights
    }
    sources = span
  }

  private var span: Range<Int> {
    let lower = starts.min() ?? 0
    return lower..<(zip(starts, counts).map { $0 + $1 }.max() ?? lower)
  }

  private mutating func append(_ weights: [Double], from start: Int) {
    starts.append(start)
    counts.append(weights.count)
    offsets.append(high.count)
    let one = Double(1 << Self.fractionBits)
    for weight in weights {
      // Weights are within ±2, so their fixed-point forms fit.
      let scaled = weight * one
      let fixed = Int32(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
      high.append(Int16(truncatingIfNeeded: fixed >> Self.lowBits))
      low.append(Int16(truncatingIfNeeded: fixed & ((1 << Self.lowBits) - 1)))
    }
  }
}
