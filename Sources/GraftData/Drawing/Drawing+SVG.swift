// Drawings as SVG, inside a page with a style sheet or as a standalone file.

import Foundation

extension Drawing {
  /// The drawing as an `svg` element.
  /// - Parameter isFile: whether it is a standalone file, with its own colors and white background.
  public func svg(isFile: Bool) -> String {
    var parts = [
      "<svg \(isFile ? "xmlns=\"http://www.w3.org/2000/svg\" " : "")"
        + (isScalable && !isFile
          ? "class=\"chart\" " : "class=\"matrix\" width=\"\(width)\" height=\"\(height)\" ")
        + "viewBox=\"0 0 \(width) \(height)\" role=\"img\" "
        + "aria-label=\"\(title.escapedForMarkup)\">"
    ]
    if isFile { parts.append(Self.styleSheet) }
    parts += shapes.map(Self.element)
    return parts.joined(separator: "\n") + "\n</svg>" + (isFile ? "\n" : "")
  }

  private static var styleSheet: String {
    let colors = Style.allCases.map { style in
      let (red, green, blue) = style.color
      let (name, color) = (style.rawValue, "rgb(\(red), \(green), \(blue))")
      let dashes = style.dashes.map { "\(Int($0))" }.joined(separator: " ")
      return ".\(name) { fill: \(color); }\n"
        + "line.\(name), polyline.\(name) { fill: none; stroke: \(color); "
        + "stroke-dasharray: \(dashes.isEmpty ? "none" : dashes); }"
    }
    return """
      <style>
      text { font: \(Int(fontSize))px system-ui, "DejaVu Sans", Arial, sans-serif; }
      polyline { stroke-width: 2; stroke-linejoin: round; }
      .middle { text-anchor: middle; } .end { text-anchor: end; }
      \(colors.joined(separator: "\n"))
      </style>
      <rect width="100%" height="100%" fill="white"/>
      """
  }

  private static func element(_ shape: Shape) -> String {
    switch shape {
    case .box(let x, let y, let width, let height, let style, let opacity, let title):
      let tip = title.map { "<title>\($0.escapedForMarkup)</title></rect>" }
      return "<rect class=\"\(style.rawValue)\" x=\"\(number(x))\" y=\"\(number(y))\" "
        + "width=\"\(number(width))\" height=\"\(number(height))\" "
        + "fill-opacity=\"\(String(format: "%.3f", opacity))\"" + (tip.map { ">" + $0 } ?? "/>")
    case .text(let x, let y, let text, let style, let anchor, let rotation):
      let place =
        rotation == 0
        ? "x=\"\(number(x))\" y=\"\(number(y))\""
        : "transform=\"translate(\(number(x)) \(number(y))) rotate(\(number(rotation)))\""
      return "<text class=\"\(style.rawValue) \(anchor.rawValue)\" \(place)>"
        + "\(text.escapedForMarkup)</text>"
    case .line(let x1, let y1, let x2, let y2, let style):
      return "<line class=\"\(style.rawValue)\" x1=\"\(number(x1))\" y1=\"\(number(y1))\" "
        + "x2=\"\(number(x2))\" y2=\"\(number(y2))\"/>"
    case .curve(let points, let style):
      let places = points.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
      return "<polyline class=\"\(style.rawValue)\" points=\"\(places)\"/>"
    case .dot(let center, let radius, let style, let opacity, let title):
      let tip = title.map { "><title>\($0.escapedForMarkup)</title></circle>" }
      return "<circle class=\"\(style.rawValue)\" cx=\"\(number(center.x))\" "
        + "cy=\"\(number(center.y))\" r=\"\(number(radius))\" "
        + "fill-opacity=\"\(String(format: "%.3f", opacity))\"" + (tip ?? "/>")
    }
  }

  private static func number(_ value: Double) -> String { String(format: "%.1f", value) }
}

extension String {
  /// The text escaped for HTML and SVG content and double-quoted attributes. Characters that XML forbids
  /// become U+FFFD.
  public var escapedForMarkup: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      case "\t", "\n", "\r": result.unicodeScalars.append(scalar)
      case "\u{0}"..."\u{1f}", "\u{fffe}", "\u{ffff}": result += "\u{fffd}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
