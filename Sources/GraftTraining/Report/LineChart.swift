// Line charts over epochs or learning rates, for reports and range tests.

import Foundation
import GraftData

/// A chart of one or more series.
struct LineChart {
  struct Series {
    var name: String
    var style: Drawing.Style
    /// Points with non-finite values are omitted.
    var points: [Drawing.Point]
    var hasLine = true
    var hasDots = true

    /// A series of one value per epoch, from 1.
    init(name: String, style: Drawing.Style, values: [Double?]) {
      self.init(
        name: name, style: style,
        points: values.enumerated().compactMap { index, value in
          value.map { Drawing.Point(Double(index + 1), $0) }
        })
    }

    init(
      name: String, style: Drawing.Style, points: [Drawing.Point], hasLine: Bool = true,
      hasDots: Bool = true
    ) {
      self.name = name
      self.style = style
      self.points = points.filter { $0.x.isFinite && $0.y.isFinite }
      (self.hasLine, self.hasDots) = (hasLine, hasDots)
    }
  }

  /// The horizontal axis.
  enum Horizontal {
    case epochs(Int)
    /// Learning rates, on a logarithmic axis.
    case rates(ClosedRange<Double>)
  }

  var title: String
  var series: [Series]
  var horizontal: Horizontal
  /// The format of values on the axis and in tooltips.
  var format: (Double) -> String
  /// A marked horizontal position and its label.
  var marked: (x: Double, text: String)?
  /// The range that the vertical axis must not exceed.
  var limits: ClosedRange<Double>?
  /// The value above which the curve is clipped.
  var ceiling: Double?
  /// Whether the chart contains its title.
  var hasTitle = false
  /// In pixels; an HTML page scales it to the available width.
  var width = 360.0
  var height = 236.0

  private static let (left, right) = (62.0, 12.0)
  private var top: Double { hasTitle ? 34 : 14 }
  private var bottom: Double { 40 }

  func drawing() -> Drawing {
    var drawing = Drawing(
      width: Int(width), height: Int(height), title: title, isScalable: true)
    let ceiling = ceiling ?? .infinity
    let values = series.flatMap(\.points).map { min($0.y, ceiling) }
    let ticks = AxisTicks.values(from: values.min() ?? 0, to: values.max() ?? 1, within: limits)
    let (low, high) = (ticks.first ?? 0, ticks.last ?? 1)
    func y(_ value: Double) -> Double {
      let share = (value - low) / max(high - low, .leastNonzeroMagnitude)
      return height - bottom - share * (height - top - bottom)
    }
    if hasTitle { drawing.text(Self.left, 18, title, .label) }
    for tick in ticks {
      drawing.line(Self.left, y(tick), width - Self.right, y(tick), .grid)
      drawing.text(Self.left - 7, y(tick) + 4, format(tick), .tick, .end)
    }
    drawAcross(on: &drawing)
    for one in series {
      let points = one.points.map { Drawing.Point(x($0.x), y(min($0.y, ceiling))) }
      if one.hasDots {
        for (point, place) in zip(one.points, points) {
          drawing.shapes.append(
            .dot(
              place, radius: points.count > 40 ? 1.5 : 2.5, one.style,
              opacity: one.hasLine ? 1 : 0.35,
              title: "\(one.name), \(horizontal.name(point.x)): \(format(point.y))"))
        }
      }
      if one.hasLine { drawing.shapes.append(.curve(points, one.style)) }
    }
    return drawing
  }

  private func x(_ value: Double) -> Double {
    Self.left + horizontal.share(value) * (width - Self.left - Self.right)
  }

  private func drawAcross(on drawing: inout Drawing) {
    let base = height - bottom
    for (place, text) in horizontal.ticks {
      drawing.text(x(place), base + 17, text, .tick, .middle)
    }
    drawing.text(
      (Self.left + width - Self.right) / 2, height - 5, horizontal.title, .tick, .middle)
    guard let marked, (0...1).contains(horizontal.share(marked.x)) else { return }
    let at = x(marked.x)
    drawing.line(at, top, at, base, .marked)
    let isLeft = at < width / 2
    drawing.text(
      at + (isLeft ? 5 : -5), top + 11, marked.text, .label, isLeft ? .start : .end)
  }
}

extension LineChart.Horizontal {
  var title: String {
    switch self {
    case .epochs: "epoch"
    case .rates: "learning rate"
    }
  }

  func name(_ value: Double) -> String {
    switch self {
    case .epochs: "epoch \(Int(value))"
    case .rates: "rate " + String(format: "%.2g", value)
    }
  }

  /// From 0 at the left to 1 at the right.
  func share(_ value: Double) -> Double {
    switch self {
    case .epochs(let count):
      return count < 2 ? 0.5 : (value - 1) / Double(count - 1)
    case .rates(let range):
      let (low, high) = (log10(range.lowerBound), log10(range.upperBound))
      return (log10(value) - low) / max(high - low, 1e-9)
    }
  }

  /// Tick positions and labels.
  var ticks: [(Double, String)] {
    switch self {
    case .epochs(let count):
      let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
      let step = steps.first { count / $0 <= 8 } ?? 10_000
      let all = Set([1] + Array(stride(from: step, through: max(1, count), by: step))).sorted()
      // The first label would overlap the second.
      let isCrowded = count > 8 && all.count > 1 && all[1] - 1 < max(2, step / 2)
      return (isCrowded ? Array(all.dropFirst()) : all).map { (Double($0), "\($0)") }
    case .rates(let range):
      let (low, high) = (log10(range.lowerBound).rounded(), log10(range.upperBound).rounded())
      return stride(from: low, through: high, by: 1).map {
        let exponent = Int($0)
        return (
          pow(10, $0),
          (-2...2).contains(exponent) ? String(format: "%g", pow(10, $0)) : "1e\(exponent)"
        )
      }.filter { (-1e-9...1 + 1e-9).contains(share($0.0)) }
    }
  }
}
