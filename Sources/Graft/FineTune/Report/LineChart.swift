// Curves over epochs as SVG. Colours, fonts and dashes are report.css'; everything here is position.

import Foundation

/// A chart of one or more series over the epochs.
struct LineChart {
  struct Series {
    var name: String
    /// The class that report.css gives a colour and a dash.
    var style: String
    /// By epoch, from 1; what is not finite is left out.
    var values: [Double?]
  }

  var title: String
  var series: [Series]
  /// How a value is written on the axis and in tips.
  var format: (Double) -> String
  /// An epoch to mark.
  var marked: Int?
  /// Values that the axis must not go below or above.
  var limits: ClosedRange<Double>?

  private static let (width, height) = (440.0, 250.0)
  private static let (left, right, top, bottom) = (58.0, 14.0, 14.0, 34.0)

  func svg() -> String {
    let epochs = max(1, series.map(\.values.count).max() ?? 1)
    let finite = series.flatMap(\.values).compactMap { $0 }.filter(\.isFinite)
    let ticks = Self.ticks(from: finite.min() ?? 0, to: finite.max() ?? 1, within: limits)
    let (low, high) = (ticks.first ?? 0, ticks.last ?? 1)
    func x(_ epoch: Int) -> Double {
      let share = epochs == 1 ? 0.5 : Double(epoch - 1) / Double(epochs - 1)
      return Self.left + share * (Self.width - Self.left - Self.right)
    }
    func y(_ value: Double) -> Double {
      let share = (value - low) / max(high - low, .leastNonzeroMagnitude)
      return Self.height - Self.bottom - share * (Self.height - Self.top - Self.bottom)
    }
    var parts = [
      "<svg class=\"chart\" viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\" "
        + "aria-label=\"\(title.escapedForHTML)\">"
    ]
    for tick in ticks {
      parts.append(
        SVG.line(Self.left, y(tick), Self.width - Self.right, y(tick), "grid")
          + SVG.text(Self.left - 7, y(tick) + 4, format(tick), "tick end"))
    }
    for epoch in Self.epochTicks(epochs) {
      parts.append(SVG.text(x(epoch), Self.height - Self.bottom + 16, "\(epoch)", "tick middle"))
    }
    parts.append(
      SVG.text(
        (Self.left + Self.width - Self.right) / 2, Self.height - 3, "epoch", "tick middle"))
    if let marked, (1...epochs).contains(marked) {
      parts.append(
        SVG.line(x(marked), Self.top, x(marked), Self.height - Self.bottom, "marked"))
    }
    for one in series {
      let points = one.values.enumerated().compactMap { index, value in
        value.flatMap { $0.isFinite ? (x(index + 1), y($0), index + 1, $0) : nil }
      }
      let path = points.map { "\(SVG.number($0.0)),\(SVG.number($0.1))" }.joined(separator: " ")
      parts.append("<polyline class=\"line \(one.style)\" points=\"\(path)\"/>")
      for point in points {
        parts.append(
          "<circle class=\"\(one.style)\" cx=\"\(SVG.number(point.0))\" "
            + "cy=\"\(SVG.number(point.1))\" r=\"\(points.count > 40 ? 1.5 : 2.5)\">"
            + "<title>\(one.name.escapedForHTML), epoch \(point.2): "
            + "\(format(point.3).escapedForHTML)</title></circle>")
      }
    }
    return parts.joined(separator: "\n") + "\n</svg>"
  }

  /// Multiples of 1, 2 or 5 times a power of ten that enclose the values, about five of them.
  static func ticks(
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
    let all = stride(from: first, through: last, by: 1).map { (index: Double) in index * step }
    return all.filter { tick in tick >= least && tick <= most }
  }

  private static func epochTicks(_ epochs: Int) -> [Int] {
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].first { epochs / $0 <= 10 }
    return Array(
      Set([1] + Array(stride(from: step ?? 10_000, through: epochs, by: step ?? 10_000)))
    )
    .sorted()
  }
}

/// Pieces of SVG.
enum SVG {
  static func number(_ value: Double) -> String { String(format: "%.1f", value) }

  static func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String
  ) -> String {
    "<line class=\"\(style)\" x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" "
      + "y2=\"\(number(y2))\"/>"
  }

  static func text(_ x: Double, _ y: Double, _ text: String, _ style: String) -> String {
    "<text class=\"\(style)\" x=\"\(number(x))\" y=\"\(number(y))\">\(text.escapedForHTML)</text>"
  }

  static func box(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String,
    opacity: Double = 1, title: String? = nil
  ) -> String {
    "<rect class=\"\(style)\" x=\"\(number(x))\" y=\"\(number(y))\" width=\"\(number(width))\" "
      + "height=\"\(number(height))\" fill-opacity=\"\(String(format: "%.3f", opacity))\">"
      + (title.map { "<title>\($0.escapedForHTML)</title>" } ?? "") + "</rect>"
  }
}

extension String {
  /// The text as HTML shows it, in content and in attributes between double quotes.
  var escapedForHTML: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
