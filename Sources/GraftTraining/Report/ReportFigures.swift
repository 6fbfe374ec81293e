// Reliability diagrams of a classifier's report.

import Foundation
import GraftData

enum ReportFigures {
  /// With more classes, no matrix is drawn and only the most confused pairs are listed.
  static let largestMatrix = 30

  /// Accuracy over confidence, one bar per bin, with the gap to the diagonal; below, the number of items per
  /// bin.
  static func reliability(_ calibration: Calibration, title: String) -> Drawing {
    let (size, left, top) = (244.0, 70.0, 10.0)
    // Rows: the diagram, its axis, and the bars of the counts with labels above.
    let (countsTop, countsHeight) = (top + size + 52, 34.0)
    var drawing = Drawing(width: 340, height: Int(countsTop) + 104, title: title, isScalable: true)
    func x(_ share: Double) -> Double { left + share * size }
    func y(_ share: Double) -> Double { top + (1 - share) * size }
    for tick in stride(from: 0.0, through: 1.0, by: 0.2) {
      drawing.line(left, y(tick), left + size, y(tick), .grid)
      drawing.text(left - 6, y(tick) + 4, percent(tick), .tick, .end)
      drawing.text(x(tick), top + size + 18, percent(tick), .tick, .middle)
    }
    drawing.text(14, top + size / 2, "accuracy", .tick, .middle, rotation: -90)
    drawing.text(left + size / 2, top + size + 36, "confidence", .tick, .middle)
    let width = size / Double(calibration.bins.count)
    let most = Double(max(1, calibration.bins.map(\.count).max() ?? 1))
    let base = countsTop + countsHeight + 40
    for (index, bin) in calibration.bins.enumerated() where bin.count > 0 {
      let tip =
        "\(bin.count) \(bin.count == 1 ? "item" : "items"), confidence "
        + "\(decimal(100 * bin.confidence, 1)) %, accuracy \(decimal(100 * bin.accuracy, 1)) %"
      let from = left + Double(index) * width + 0.8
      let (low, high) = (
        min(bin.accuracy, bin.confidence), max(bin.accuracy, bin.confidence)
      )
      drawing.box(from, y(low), width - 1.6, low * size, .right, opacity: 0.85, title: tip)
      drawing.box(
        from, y(high), width - 1.6, (high - low) * size, .wrong, opacity: 0.4, title: tip)
      drawing.box(from, y(bin.accuracy), width - 1.6, 2.5, .right, title: tip)
      let height = max(1, countsHeight * Double(bin.count) / most)
      drawing.box(from, base - height, width - 1.6, height, .tick, opacity: 0.6, title: tip)
      drawing.text(
        from + width / 2 + 4, base - height - 4, "\(bin.count)", .tick, .start, rotation: -90)
    }
    drawing.line(left, base, left + size, base, .grid)
    drawing.text(left + size / 2, base + 18, "items with this confidence", .tick, .middle)
    drawing.line(x(0), y(0), x(1), y(1), .diagonal)
    return drawing
  }

  static func percent(_ share: Double) -> String { "\(Int((100 * share).rounded())) %" }

  static func decimal(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
