// The curve of a range test as a picture.

import Foundation
import GraftData

extension FineTuner.LearningRateSearch {
  /// A picture of the curve in SVG: the loss of every step, smoothed, over the logarithm of the
  /// rate, with the suggestion.
  public func svg() -> String {
    let (width, height) = (720.0, 420.0)
    let (left, right, top, bottom) = (64.0, 20.0, 40.0, 56.0)
    let losses = points.map(\.smoothedLoss)
    // What lies above twice the start is where the curve leaves the picture.
    let most = min(losses.max() ?? 1, 2 * (losses.first ?? 1))
    let least = losses.min() ?? 0
    let margin = max(0.05 * (most - least), 1e-9)
    let (low, high) = (least - margin, most + margin)
    let decades = (log10(points.first?.learningRate ?? 1), log10(points.last?.learningRate ?? 10))
    func x(_ rate: Double) -> Double {
      left + (width - left - right) * (log10(rate) - decades.0) / max(decades.1 - decades.0, 1e-9)
    }
    func y(_ loss: Double) -> Double {
      top + (height - top - bottom) * (high - min(max(loss, low), high)) / (high - low)
    }
    func text(_ number: Double) -> String { String(format: "%.1f", number) }
    var parts = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(Int(width)) \(Int(height))\" "
        + "font-family=\"sans-serif\" font-size=\"12\">",
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
      "<text x=\"\(left)\" y=\"22\" font-size=\"15\">Loss over the learning rate</text>",
    ]
    for exponent in Int(
      decades.0.rounded(.up))...max(
        Int(decades.0.rounded(.up)), Int(decades.1.rounded(.down)))
    {
      let at = text(x(pow(10, Double(exponent))))
      parts.append(
        "<line x1=\"\(at)\" x2=\"\(at)\" y1=\"\(top)\" y2=\"\(height - bottom)\" stroke=\"#e4e4e4\"/>"
          + "<text x=\"\(at)\" y=\"\(height - bottom + 18)\" text-anchor=\"middle\">10"
          + "<tspan dy=\"-5\" font-size=\"9\">\(exponent)</tspan></text>")
    }
    for step in 0...4 {
      let loss = low + (high - low) * Double(step) / 4
      let at = text(y(loss))
      parts.append(
        "<line x1=\"\(left)\" x2=\"\(width - right)\" y1=\"\(at)\" y2=\"\(at)\" stroke=\"#e4e4e4\"/>"
          + "<text x=\"\(left - 8)\" y=\"\(text(y(loss) + 4))\" text-anchor=\"end\">"
          + String(format: "%.3g", loss) + "</text>")
    }
    parts.append(
      "<text x=\"\(text((left + width - right) / 2))\" y=\"\(height - 14)\" text-anchor=\"middle\">"
        + "learning rate</text>")
    for point in points {
      let (px, py) = (text(x(point.learningRate)), text(y(point.loss)))
      parts.append("<circle cx=\"\(px)\" cy=\"\(py)\" r=\"2\" fill=\"#b8c4d6\"/>")
    }
    let line = points.map { "\(text(x($0.learningRate))),\(text(y($0.smoothedLoss)))" }
    parts.append(
      "<polyline points=\"\(line.joined(separator: " "))\" fill=\"none\" stroke=\"#1f5fb0\" "
        + "stroke-width=\"2\"/>")
    let at = x(suggestion)
    let isLeft = at < width / 2
    parts.append(
      "<line x1=\"\(text(at))\" x2=\"\(text(at))\" y1=\"\(top)\" y2=\"\(height - bottom)\" "
        + "stroke=\"#c0392b\" stroke-dasharray=\"4 3\"/>"
        + "<text x=\"\(text(at + (isLeft ? 6 : -6)))\" y=\"\(top + 14)\" fill=\"#c0392b\" "
        + "text-anchor=\"\(isLeft ? "start" : "end")\">suggestion "
        + String(format: "%.2g", suggestion) + "</text>")
    return parts.joined(separator: "\n") + "\n</svg>\n"
  }

  /// Writes ``svg()`` to a file, whole or not at all.
  public func writeChart(to path: String) throws {
    try FileReplacement(at: path).write(Array(svg().utf8))
  }
}
