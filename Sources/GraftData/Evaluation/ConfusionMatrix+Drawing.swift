// A confusion matrix as a drawing, shaded by the fraction of each row, with counts and names if they fit.

import GraftDiagnostics

extension ConfusionMatrix {
  /// True classes as rows, predicted classes as columns, shaded by the fraction of the row.
  /// - Parameters:
  ///   - classes: The class names; indices if there are too few.
  ///   - hasAxes: Whether to label the axes.
  /// - Throws: ``GraftError`` of kind `invalidData` if it would be too large.
  public func drawing(classes: [String] = [], hasAxes: Bool) throws -> Drawing {
    let names = names(classes).map { Self.shortened($0.escapedForDisplay) }
    let letters = Double((supports.max() ?? 0).description.count)
    // 1000 pixels for many classes, or more so that a class has at least one pixel.
    let cell =
      classCount <= 12
      ? max(34, letters * 8 + 6)
      : classCount <= 30 ? max(26, letters * 8 + 4) : max(1, min(18, 1000 / Double(classCount)))
    let hasNames = cell >= 14
    let longest = hasNames ? Double(names.map(\.count).max() ?? 1) : 0
    let axis = hasAxes ? 20.0 : 0
    // Column names are rotated by 50°, so they need more height than width.
    let (left, top) = (longest * 7.2 + 14 + axis, longest * 5.6 + 18 + axis)
    let edge = cell * Double(classCount)
    let (width, height) = (left + edge + (hasNames ? longest * 4.7 + 12 : 12), top + edge + 8)
    _ = try Image.checkedCount(width: Int(width), height: Int(height), channels: 3)
    var drawing = Drawing(width: Int(width), height: Int(height), title: "Confusion matrix")
    if hasAxes {
      drawing.text(left + edge / 2, 15, "predicted class", .tick, .middle)
      drawing.text(14, top + edge / 2, "own class", .tick, .middle, rotation: -90)
    }
    if hasNames {
      for (index, name) in names.enumerated() {
        let middle = cell * (Double(index) + 0.5) + 4
        drawing.text(left - 8, top + middle, name, .tick, .end)
        drawing.text(left + middle, top - 8, name, .tick, rotation: -50)
      }
    }
    drawing.box(left, top, edge, edge, .tick, opacity: 0.07)
    drawCells(on: &drawing, names: names, cell: cell, at: (left, top))
    return drawing
  }

  private func drawCells(
    on drawing: inout Drawing, names: [String], cell: Double, at corner: (x: Double, y: Double)
  ) {
    let supports = supports
    let gap = cell >= 8 ? 0.5 : 0
    for (row, column, count) in cells {
      let share = Double(count) / Double(max(1, supports[row]))
      let (x, y) = (corner.x + cell * Double(column), corner.y + cell * Double(row))
      drawing.box(
        x + gap, y + gap, cell - 2 * gap, cell - 2 * gap, row == column ? .right : .wrong,
        // The square root makes small fractions visible.
        opacity: 0.15 + 0.8 * share.squareRoot(),
        title: classCount > 30
          ? nil : "\(names[row]) predicted as \(names[column]): \(count) of \(supports[row])")
      if cell >= 26 {
        drawing.text(
          x + cell / 2, y + cell / 2 + 4, "\(count)", share.squareRoot() > 0.6 ? .dark : .label,
          .middle)
      }
    }
  }

  private static func shortened(_ name: String) -> String {
    name.count <= 18 ? name : name.prefix(17) + "…"
  }
}
