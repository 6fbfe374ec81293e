// Metrics of a regression: of numbers, and of images.

import Foundation
import GraftDiagnostics

/// Errors of a network's outputs against target values, item by item.
public struct ValueMetrics: Sendable {
  /// The result for one item.
  public struct Item: Sendable {
    public var meanSquaredError: Double
    public var meanAbsoluteError: Double
    /// In decibels; infinite if output and target are equal, nil if they are no images.
    public var peakSignalToNoise: Double?
    /// The structural similarity, -1 to 1; nil if they are no images of 11 pixels or more each way.
    public var structuralSimilarity: Double?
  }

  private let width: Int
  private let image: ImageSimilarity?
  public private(set) var items: [Item] = []
  /// For every output: the sums of targets, of their squares and of squared errors.
  private var sums: [(target: Double, square: Double, error: Double)]

  /// - Parameters:
  ///   - width: the number of values of an item.
  ///   - image: how images compare; nil for numbers.
  public init(width: Int, image: ImageSimilarity?) {
    self.width = width
    self.image = image
    sums = Array(repeating: (0, 0, 0), count: width)
  }

  /// - Throws: ``GraftError`` of kind `inconsistency` if an item has not as many values.
  public mutating func add(outputs: ArraySlice<Float>, targets: [Float]) throws {
    guard outputs.count == width, targets.count == width else {
      throw GraftError(
        .inconsistency, "\(outputs.count) outputs and \(targets.count) targets for \(width) values")
    }
    var (squares, absolute) = (0.0, 0.0)
    for (index, (output, target)) in zip(outputs, targets).enumerated() {
      let difference = Double(output) - Double(target)
      squares += difference * difference
      absolute += abs(difference)
      sums[index].target += Double(target)
      sums[index].square += Double(target) * Double(target)
      sums[index].error += difference * difference
    }
    let count = Double(max(1, width))
    items.append(
      Item(
        meanSquaredError: squares / count, meanAbsoluteError: absolute / count,
        peakSignalToNoise: image.map {
          ImageSimilarity.peakSignalToNoise(meanSquaredError: squares / count, peak: $0.peak)
        },
        structuralSimilarity: image?.structuralSimilarity(Array(outputs), targets)))
  }

  public var meanSquaredError: Double? { mean(\.meanSquaredError) }
  public var meanAbsoluteError: Double? { mean(\.meanAbsoluteError) }
  /// The mean over the items, in decibels.
  public var peakSignalToNoise: Double? { mean(\.peakSignalToNoise) }
  /// The mean over the items.
  public var structuralSimilarity: Double? { mean(\.structuralSimilarity) }

  /// The mean over outputs of the share of the targets' variance that the outputs explain, 1 at best; nil if
  /// targets do not vary.
  public var determination: Double? {
    let count = Double(items.count)
    let shares = sums.compactMap { sum -> Double? in
      let variance = sum.square - sum.target * sum.target / max(1, count)
      return variance > 1e-12 * sum.square ? 1 - sum.error / variance : nil
    }
    return shares.isEmpty ? nil : shares.reduce(0, +) / Double(shares.count)
  }

  private func mean(_ value: (Item) -> Double?) -> Double? {
    let values = items.compactMap(value)
    return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  }
}

/// Comparisons of images of one size and range of values.
public struct ImageSimilarity: Sendable {
  public let channels: Int
  public let height: Int
  public let width: Int
  /// Whether channels are the last axis.
  public let isInterleaved: Bool
  /// The difference of the largest and the smallest value that an image can have.
  public let peak: Double

  /// - Parameter shape: of an item: [channels, height, width] or [height, width, channels], of 1 or 3 channels.
  /// - Returns: nil for another shape.
  public init?(shape: [Int], peak: Double) {
    guard shape.count == 3, peak > 0 else { return nil }
    if [1, 3].contains(shape[0]) {
      (channels, height, width, isInterleaved) = (shape[0], shape[1], shape[2], false)
    } else if [1, 3].contains(shape[2]) {
      (height, width, channels, isInterleaved) = (shape[0], shape[1], shape[2], true)
    } else {
      return nil
    }
    self.peak = peak
  }

  /// The range of values of which these are some: of [0, 1], of [-1, 1], or of bytes.
  public static func peak(of values: [Float]) -> Double {
    let (least, most) = (values.min() ?? 0, values.max() ?? 0)
    return most > 1 || least < -1 ? 255 : least < 0 ? 2 : 1
  }

  /// 10 · log₁₀(peak² / error), in decibels.
  public static func peakSignalToNoise(meanSquaredError error: Double, peak: Double) -> Double {
    10 * (log10(peak * peak) - log10(error))
  }

  /// The mean structural similarity (Wang et al. 2004, equation 13): windows of 11 × 11 with Gaussian weights of
  /// deviation 1.5, K₁ = 0.01 and K₂ = 0.03, over all channels and all windows within the image.
  /// - Returns: nil if the image is smaller than a window.
  func structuralSimilarity(_ a: [Float], _ b: [Float]) -> Double? {
    guard height >= Self.window.count, width >= Self.window.count else { return nil }
    let (c1, c2) = (0.0001 * peak * peak, 0.0009 * peak * peak)
    var (sum, count) = (0.0, 0)
    for channel in 0..<channels {
      let (x, y) = (plane(channel, of: a), plane(channel, of: b))
      let means = [x, y].map(blurred)
      let products = [zip(x, x), zip(y, y), zip(x, y)].map { blurred($0.map { $0 * $1 }) }
      for index in means[0].indices {
        let (mx, my) = (means[0][index], means[1][index])
        let (vx, vy) = (products[0][index] - mx * mx, products[1][index] - my * my)
        let covariance = products[2][index] - mx * my
        sum +=
          (2 * mx * my + c1) * (2 * covariance + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
      }
      count += means[0].count
    }
    return sum / Double(count)
  }

  private static let window: [Double] = {
    let weights = (-5...5).map { exp(-Double($0 * $0) / (2 * 1.5 * 1.5)) }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
  }()

  private func plane(_ channel: Int, of values: [Float]) -> [Double] {
    (0..<(height * width)).map { index in
      Double(values[isInterleaved ? index * channels + channel : channel * height * width + index])
    }
  }

  /// The weighted means of all windows within a plane.
  private func blurred(_ plane: [Double]) -> [Double] {
    let size = Self.window.count
    let columns = width - size + 1
    var rows = [Double](repeating: 0, count: height * columns)
    for y in 0..<height {
      for x in 0..<columns {
        var sum = 0.0
        for k in 0..<size { sum += Self.window[k] * plane[y * width + x + k] }
        rows[y * columns + x] = sum
      }
    }
    var result = [Double](repeating: 0, count: (height - size + 1) * columns)
    for y in 0...(height - size) {
      for x in 0..<columns {
        var sum = 0.0
        for k in 0..<size { sum += Self.window[k] * rows[(y + k) * columns + x] }
        result[y * columns + x] = sum
      }
    }
    return result
  }
}
