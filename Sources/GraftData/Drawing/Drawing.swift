// A drawing of boxes, lines, curves and text. Its styles determine the appearance; Drawing+SVG and
// Drawing+PNG render it.

/// A drawing; coordinates are pixels from the upper left corner.
public struct Drawing: Hashable, Sendable {
  /// The role of a shape, which determines its color. Pages may override the colors of these classes.
  public enum Style: String, Hashable, Sendable, CaseIterable {
    /// Correct and incorrect, the two main colors.
    case right, wrong
    /// Text on the background, faint text, and text on a filled box.
    case label, tick, dark
    case grid
    /// Two curves, which also differ in their dashes, and reference lines.
    case training, validation, marked, diagonal

    /// Red, green and blue from 0 to 255 on white paper.
    public var color: (red: UInt8, green: UInt8, blue: UInt8) {
      switch self {
      case .right, .training: (0x1f, 0x5f, 0xd0)
      case .wrong, .validation: (0xb3, 0x54, 0x1e)
      case .label, .diagonal: (0x18, 0x20, 0x2b)
      case .tick, .marked: (0x56, 0x62, 0x73)
      case .dark: (0xff, 0xff, 0xff)
      case .grid: (0xd6, 0xdc, 0xe4)
      }
    }

    /// Lengths of dashes and gaps; empty for a solid line.
    public var dashes: [Double] {
      switch self {
      case .validation: [6, 3]
      case .marked: [2, 3]
      case .diagonal: [5, 4]
      default: []
      }
    }
  }

  public struct Point: Hashable, Sendable {
    public var x, y: Double

    public init(_ x: Double, _ y: Double) { (self.x, self.y) = (x, y) }
  }

  public enum Anchor: String, Hashable, Sendable { case start, middle, end }

  public enum Shape: Hashable, Sendable {
    /// - Parameter title: the tooltip in browsers.
    case box(
      x: Double, y: Double, width: Double, height: Double, Style, opacity: Double, title: String?)
    /// Text at its baseline, rotated clockwise about its anchor, in degrees.
    case text(x: Double, y: Double, String, Style, Anchor, rotation: Double)
    case line(x1: Double, y1: Double, x2: Double, y2: Double, Style)
    case curve([Point], Style)
    case dot(Point, radius: Double, Style, opacity: Double, title: String?)
  }

  public var width: Int
  public var height: Int
  /// The accessible title.
  public var title: String
  public var shapes: [Shape] = []
  /// Whether a page may scale it to the available width.
  public var isScalable: Bool

  /// The size of all text.
  public static let fontSize = 13.0

  public init(width: Int, height: Int, title: String, isScalable: Bool = false) {
    self.isScalable = isScalable
    self.width = width
    self.height = height
    self.title = title
  }

  public mutating func box(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: Style,
    opacity: Double = 1, title: String? = nil
  ) {
    shapes.append(
      .box(x: x, y: y, width: width, height: height, style, opacity: opacity, title: title))
  }

  public mutating func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: Style
  ) {
    shapes.append(.line(x1: x1, y1: y1, x2: x2, y2: y2, style))
  }

  public mutating func text(
    _ x: Double, _ y: Double, _ text: String, _ style: Style, _ anchor: Anchor = .start,
    rotation: Double = 0
  ) {
    shapes.append(.text(x: x, y: y, text, style, anchor, rotation: rotation))
  }
}
