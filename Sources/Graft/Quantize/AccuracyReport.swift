// What int8 costs on labeled data, and what is done about it: the options and the results of accuracy control.

import Foundation

/// How much accuracy int8 may cost.
public struct AccuracyOptions: Sendable {
  /// Labeled data as for `graft evaluate`.
  public var data: String
  /// The most that the top-1 accuracy may drop from float32's, in points, 0...100.
  public var mostDrop = 0.3

  public init(data: String) { self.data = data }
}

/// Two classifiers' predictions for the same items.
public struct PairedComparison: Encodable, Sendable, Equatable {
  public let items: Int
  /// Items that only the first, or only the second, predicts correctly.
  public let losses: Int
  public let gains: Int
  /// Items with different predictions.
  public let changed: Int

  /// - Parameters:
  ///   - labels: the class of each item.
  ///   - first: the class that the first classifier predicts for each item; `second` likewise.
  init(labels: [Int], first: [Int], second: [Int]) {
    let all = zip(labels, zip(first, second))
    items = labels.count
    losses = all.count { $1.0 == $0 && $1.1 != $0 }
    gains = all.count { $1.0 != $0 && $1.1 == $0 }
    changed = all.count { $1.0 != $1.1 }
  }

  /// The drop in accuracy from the first classifier to the second, in points.
  public var drop: Double { items == 0 ? 0 : 100 * Double(losses - gains) / Double(items) }

  /// Half the width of the drop's 95 % interval, in points: 1.96 standard errors of a difference of paired
  /// proportions, √(b + c − (b − c)²/n) / n with b losses and c gains of n items (McNemar 1947; Fleiss 1981,
  /// section 8.1).
  public var margin: Double {
    guard items > 0 else { return 0 }
    let (b, c, n) = (Double(losses), Double(gains), Double(items))
    return 100 * 1.96 * (b + c - (b - c) * (b - c) / n).squareRoot() / n
  }

  enum CodingKeys: String, CodingKey {
    case items, losses, gains, changed, drop, margin
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(items, forKey: .items)
    try container.encode(losses, forKey: .losses)
    try container.encode(gains, forKey: .gains)
    try container.encode(changed, forKey: .changed)
    try container.encode(drop, forKey: .drop)
    try container.encode(margin, forKey: .margin)
  }
}

/// What int8 costs a network, and which layers stay float32 for that.
public struct AccuracyReport: Encodable, Sendable {
  /// A network in one precision.
  public struct Network: Encodable, Sendable {
    /// The fraction of items that are predicted correctly, 0 to 1.
    public var top1: Double
    /// The median time of a batch of one image, with the cost model's schedules.
    public var milliseconds: Double
    /// The weights as the kernels read them.
    public var weightBytes: Int

    enum CodingKeys: String, CodingKey {
      case top1, milliseconds
      case weightBytes = "weight_bytes"
    }
  }

  public var float32: Network
  /// The network in int8 but for ``kept``.
  public var int8: Network
  /// From float32 to ``int8``.
  public var comparison: PairedComparison
  /// The drop in points when every layer that can be is on bytes.
  public var dropOfAll: Double
  /// The number of layers that can be on bytes.
  public var layers: Int
  /// The layers that stay float32, the one with the largest error first.
  public var kept: [Manifest.Quantization.KeptLayer]

  enum CodingKeys: String, CodingKey {
    case float32, int8, comparison, layers, kept
    case dropOfAll = "drop_of_all"
  }

  /// The lines that `graft compile` prints.
  public var lines: [String] {
    func percent(_ share: Double) -> String { String(format: "%.2f %%", 100 * share) }
    var lines = [
      "accuracy  float32 \(percent(float32.top1)), int8 \(percent(int8.top1)) of \(comparison.items) items",
      "drop      "
        + String(format: "%.2f points, ± %.2f (95 %%)", comparison.drop, comparison.margin)
        + ", \(comparison.changed) predictions changed",
      "time      "
        + String(
          format: "float32 %.3g ms, int8 %.3g ms per image, before tuning", float32.milliseconds,
          int8.milliseconds),
      "weights   float32 \(float32.weightBytes.asBytes), int8 \(int8.weightBytes.asBytes)",
    ]
    guard !kept.isEmpty else {
      return lines + ["layers    all \(layers) that can be are int8"]
    }
    lines.append(
      "layers    \(kept.count) of \(layers) stay float32, because the drop with all in int8 is "
        + String(format: "%.2f points:", dropOfAll))
    return lines + kept.map { "          \($0.layer.escapedForDisplay): \($0.reason)" }
  }
}
