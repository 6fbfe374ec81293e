// A confusion matrix as a picture: a row a class, shaded by the share of its items, with counts and
// names where there is room for letters.

import GraftDiagnostics

extension ConfusionMatrix {
  /// The matrix as a picture in RGB: true classes down, predicted ones across, each cell the darker the
  /// greater its share of its row.
  /// - Parameter classes: Their names; indices where it has too few.
  /// - Throws: ``GraftError`` where it would be too large.
  public func picture(classes: [String] = []) throws -> Image {
    // A cell has one pixel at least.
    _ = try Image.checkedCount(width: classCount, height: classCount, channels: 3)
    let plan = PicturePlan(matrix: self, names: names(classes))
    var canvas = try Canvas(width: plan.width, height: plan.height)
    plan.drawFrame(on: &canvas)
    for (label, support) in supports.enumerated() {
      for prediction in 0..<classCount {
        plan.drawCell(
          count: self[label: label, prediction: prediction], of: support, row: label,
          column: prediction, on: &canvas)
      }
    }
    return try canvas.image()
  }
}

/// Where everything stands.
private struct PicturePlan {
  let names: [String]
  let cell: Int
  /// Dots a pixel of a letter; 0 leaves text away.
  let textScale: Int
  let showsCounts: Bool
  let left: Int
  let top: Int
  let width: Int
  let height: Int

  static let margin = 12
  static let longestName = 24

  init(matrix: ConfusionMatrix, names: [String]) {
    let count = matrix.classCount
    let letters = (matrix.supports.max() ?? 0).description.count
    // Up to about a thousand pixels, then as many as the classes need.
    textScale = count <= 24 ? 2 : count <= 160 ? 1 : 0
    let lineHeight = (BitmapFont.height + 3) * max(1, textScale)
    let countWidth = (letters * BitmapFont.advance + 3) * textScale
    let room = max(1, 1000 / count)
    cell = textScale > 0 ? max(lineHeight, min(max(room, countWidth), 56)) : max(1, room)
    showsCounts = textScale > 0 && cell >= countWidth
    self.names = names.map {
      $0.count > Self.longestName ? $0.prefix(Self.longestName - 1) + "." : $0
    }
    let nameWidth = (self.names.map(\.count).max() ?? 0) * BitmapFont.advance * textScale
    // The axes' titles take one line, then come the names.
    left = Self.margin + 20 + nameWidth + 6
    top = left
    width = left + cell * count + Self.margin
    height = top + cell * count + Self.margin
  }

  func drawFrame(on canvas: inout Canvas) {
    let side = cell * names.count
    let titleScale = 2
    canvas.draw("predicted", x: left, y: PicturePlan.margin, scale: titleScale, Canvas.ink)
    canvas.drawUpwards(
      "true", x: PicturePlan.margin, bottom: top + side, scale: titleScale, Canvas.ink)
    canvas.fill(x: left - 1, y: top - 1, width: side + 2, height: side + 2, [170, 170, 170])
    guard textScale > 0 else { return }
    let centre = (cell - BitmapFont.height * textScale) / 2
    for (index, name) in names.enumerated() {
      let length = name.count * BitmapFont.advance * textScale
      canvas.draw(
        name, x: left - 6 - length, y: top + index * cell + centre, scale: textScale, Canvas.ink)
      canvas.drawUpwards(
        name, x: left + index * cell + centre, bottom: top - 6, scale: textScale, Canvas.ink)
    }
  }

  func drawCell(count: Int, of support: Int, row: Int, column: Int, on canvas: inout Canvas) {
    let share = support == 0 ? 0 : Double(count) / Double(support)
    // White to a dark blue; the root lets single confusions show.
    let strength = share.squareRoot()
    let color = zip([255.0, 255, 255], [8.0, 48, 107]).map { UInt8($0 + ($1 - $0) * strength) }
    let x = left + column * cell, y = top + row * cell
    let gap = cell >= 8 ? 1 : 0
    canvas.fill(x: x, y: y, width: cell - gap, height: cell - gap, color)
    guard showsCounts, count > 0 else { return }
    let text = String(count)
    let length = (text.count * BitmapFont.advance - 1) * textScale
    canvas.draw(
      text, x: x + (cell - gap - length) / 2, y: y + (cell - BitmapFont.height * textScale) / 2,
      scale: textScale, strength > 0.6 ? [255, 255, 255] : Canvas.ink)
  }
}

/// Pixels to draw on; what falls outside is left out.
private struct Canvas {
  static let ink: [UInt8] = [40, 40, 40]
  private let width: Int
  private let height: Int
  private var pixels: [UInt8]

  init(width: Int, height: Int) throws {
    let count = try Image.checkedCount(width: width, height: height, channels: 3)
    self.width = width
    self.height = height
    pixels = [UInt8](repeating: 255, count: count)
  }

  func image() throws -> Image {
    try Image(width: width, height: height, channels: 3, pixels: pixels)
  }

  mutating func fill(x: Int, y: Int, width: Int, height: Int, _ color: [UInt8]) {
    for row in max(0, y)..<max(0, y, min(self.height, y + height)) {
      for column in max(0, x)..<max(0, x, min(self.width, x + width)) {
        let start = (row * self.width + column) * 3
        for channel in 0..<3 { pixels[start + channel] = color[channel] }
      }
    }
  }

  mutating func draw(_ text: String, x: Int, y: Int, scale: Int, _ color: [UInt8]) {
    dots(of: text) { column, row, canvas in
      canvas.fill(
        x: x + column * scale, y: y + row * scale, width: scale, height: scale, color)
    }
  }

  /// Text turned to the left, starting at `bottom`.
  mutating func drawUpwards(_ text: String, x: Int, bottom: Int, scale: Int, _ color: [UInt8]) {
    dots(of: text) { column, row, canvas in
      canvas.fill(
        x: x + row * scale, y: bottom - (column + 1) * scale, width: scale, height: scale, color)
    }
  }

  private mutating func dots(of text: String, _ draw: (Int, Int, inout Canvas) -> Void) {
    for (index, character) in text.enumerated() {
      for (row, dots) in BitmapFont.rows(of: character).enumerated() {
        for column in 0..<BitmapFont.width where dots >> (BitmapFont.width - 1 - column) & 1 == 1 {
          draw(index * BitmapFont.advance + column, row, &self)
        }
      }
    }
  }
}
