// The figures of a classifier's report beside its curves: the confusion matrix and reliability diagrams.

import Foundation
import GraftData
import GraftDiagnostics

enum ReportFigures {
  /// More classes make no legible matrix; then the pairs that are confused most are listed alone.
  static let largestMatrix = 30

  /// Who is taken for whom: own classes down, the classes they were taken for across. A cell is as dark as
  /// its share of the class.
  static func confusion(_ matrix: ConfusionMatrix, _ labels: [String]) -> String {
    let count = matrix.classCount
    let cell = count <= 12 ? 34.0 : 26.0
    let names = labels.map { $0.escapedForDisplay }
    let longest = Double(min(18, names.map(\.count).max() ?? 1))
    let (left, top) = (longest * 7.2 + 14, longest * 5.6 + 18)
    let size = (left + cell * Double(count) + 40, top + cell * Double(count) + 6)
    var parts = [
      "<svg class=\"matrix\" width=\"\(Int(size.0))\" height=\"\(Int(size.1))\" "
        + "viewBox=\"0 0 \(Int(size.0)) \(Int(size.1))\" role=\"img\" aria-label=\"Confusion matrix\">"
    ]
    let supports = matrix.supports
    for row in 0..<count {
      let y = top + cell * Double(row)
      parts.append(
        SVG.text(left - 8, y + cell / 2 + 4, shortened(names[row]), "tick end"))
      let (x, base) = (left + cell * (Double(row) + 0.5) + 4, top - 8)
      parts.append(
        "<text class=\"tick\" transform=\"translate(\(SVG.number(x)) \(SVG.number(base))) "
          + "rotate(-50)\">\(shortened(names[row]).escapedForHTML)</text>")
      for column in 0..<count {
        let items = matrix[label: row, prediction: column]
        let share = Double(items) / Double(max(1, supports[row]))
        let x = left + cell * Double(column)
        parts.append(
          SVG.box(
            x + 0.5, y + 0.5, cell - 1, cell - 1, row == column ? "right" : "wrong",
            // Single mistakes among many items are what one looks for: the root lifts them.
            opacity: items == 0 ? 0.04 : 0.15 + 0.8 * share.squareRoot(),
            title: "\(names[row]) taken for \(names[column]): \(items) of \(supports[row])"))
        if items > 0 {
          parts.append(
            SVG.text(
              x + cell / 2, y + cell / 2 + 4, "\(items)",
              share.squareRoot() > 0.6 ? "cell dark" : "cell"))
        }
      }
    }
    return parts.joined(separator: "\n") + "\n</svg>"
  }

  private static func shortened(_ name: String) -> String {
    name.count <= 18 ? name : name.prefix(17) + "…"
  }

  /// Accuracy over confidence, a bar a bin, with what lacks or is too much to the diagonal.
  static func reliability(_ calibration: Calibration, title: String) -> String {
    let (size, left, top) = (240.0, 44.0, 10.0)
    func x(_ share: Double) -> Double { left + share * size }
    func y(_ share: Double) -> Double { top + (1 - share) * size }
    var parts = [
      "<svg class=\"chart\" viewBox=\"0 0 310 286\" role=\"img\" "
        + "aria-label=\"\(title.escapedForHTML)\">"
    ]
    for tick in stride(from: 0.0, through: 1.0, by: 0.25) {
      parts.append(SVG.line(left, y(tick), left + size, y(tick), "grid"))
      parts.append(SVG.text(left - 6, y(tick) + 4, percent(tick), "tick end"))
      parts.append(SVG.text(x(tick), top + size + 16, percent(tick), "tick middle"))
    }
    let width = 1 / Double(calibration.bins.count)
    for (index, bin) in calibration.bins.enumerated() where bin.count > 0 {
      let tip =
        "\(bin.count) items, confidence \(decimal(100 * bin.confidence, 1)) %, "
        + "right \(decimal(100 * bin.accuracy, 1)) %"
      let from = x(Double(index) * width) + 0.8
      let (low, high) = (
        min(bin.accuracy, bin.confidence), max(bin.accuracy, bin.confidence)
      )
      parts.append(
        SVG.box(
          from, y(bin.accuracy), width * size - 1.6, bin.accuracy * size, "bar", opacity: 0.85,
          title: tip))
      parts.append(
        SVG.box(
          from, y(high), width * size - 1.6, (high - low) * size, "gap", opacity: 0.35, title: tip))
    }
    parts.append(SVG.line(x(0), y(0), x(1), y(1), "diagonal"))
    parts.append(SVG.text(left + size / 2, top + size + 34, "confidence", "tick middle"))
    return parts.joined(separator: "\n") + "\n</svg>"
  }

  static func percent(_ share: Double) -> String { "\(Int((100 * share).rounded())) %" }

  static func decimal(_ value: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
