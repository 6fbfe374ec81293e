// A text-mode line chart for a terminal.

import Foundation
import Graft
import GraftTraining

/// A line chart of evenly spaced values, drawn with characters.
struct TextChart {
  var values: [Double]
  var width = 64
  var height = 12

  /// The lines from top to bottom; values above twice the first are drawn at the top edge.
  /// - Parameter mark: the index of the value whose column is marked below the chart.
  func lines(marking mark: Int) -> [String] {
    guard let first = values.first, let least = values.min(), let largest = values.max() else {
      return []
    }
    let most = min(largest, max(2 * first, least))
    let ticks = AxisTicks.values(from: least, to: most)
    let (low, high) = (ticks.first ?? least, ticks.last ?? most)
    func row(_ value: Double) -> Int {
      let share = (min(max(value, low), high) - low) / max(high - low, 1e-12)
      return Int(((1 - share) * Double(height - 1)).rounded())
    }
    let labels = Dictionary(ticks.map { (row($0), String(format: "%.4g", $0)) }) { old, _ in old }
    let columns = min(width, values.count)
    var cells = Array(repeating: Array(repeating: Character(" "), count: columns), count: height)
    func column(_ index: Int) -> Int { index * columns / values.count }
    for (index, value) in values.enumerated() {
      cells[row(min(value, most))][column(index)] = "•"
    }
    var lines = cells.enumerated().map { row, line in
      let text = labels[row] ?? ""
      return String(repeating: " ", count: max(0, 9 - text.count)) + text
        + (labels[row] == nil ? " │" : " ┤") + String(line)
    }
    lines.append(
      String(repeating: " ", count: 11 + column(min(max(0, mark), values.count - 1))) + "▲")
    return lines
  }
}
