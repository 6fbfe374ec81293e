// A curve drawn with characters, for a terminal.

/// Values at even distances as a curve of characters.
struct TextChart {
  var values: [Double]
  var width = 64
  var height = 12

  /// Lines from the top; values above twice the first are drawn at the top edge.
  /// - Parameter mark: an index into the values, whose column is marked below.
  func lines(marking mark: Int) -> [String] {
    guard let first = values.first, let least = values.min(), let largest = values.max() else {
      return []
    }
    let most = min(largest, max(2 * first, least))
    let range = max(most - least, 1e-12)
    let columns = min(width, values.count)
    var cells = Array(repeating: Array(repeating: Character(" "), count: columns), count: height)
    func column(_ index: Int) -> Int { index * columns / values.count }
    for (index, value) in values.enumerated() {
      let share = (min(max(value, least), most) - least) / range
      let row = Int(((1 - share) * Double(height - 1)).rounded())
      cells[row][column(index)] = "•"
    }
    var lines = cells.enumerated().map { row, line in
      let label = most - range * Double(row) / Double(height - 1)
      let text = label.formatted(digits: 3)
      return String(repeating: " ", count: max(0, 9 - text.count)) + text + " │" + String(line)
    }
    lines.append(
      String(repeating: " ", count: 11 + column(min(max(0, mark), values.count - 1))) + "▲")
    return lines
  }
}
