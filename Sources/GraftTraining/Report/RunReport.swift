// The report of a fine-tuning run: one self-contained HTML file without scripts. Names come from files and
// are untrusted: each goes through one escaping function.

import Foundation
import Graft
import GraftData
import GraftDiagnostics

/// The contents of the page.
struct RunReport {
  /// A mistake with its images.
  struct Mistake {
    var file: String
    var label: Int
    var predicted: Int
    var confidence: Double
    var ownProbability: Double
    var pictures: MistakeImages.Pair?
  }

  var output: String
  var epochs: [FineTuner.Epoch]
  var kept: Int
  var findings: Findings?
  var segmentation: SegmentationFindings?
  var pictures: PictureFindings?
  var labels: [String]
  var mistakes: [Mistake]
  /// The feature map of the heat maps.
  var featureMap: String?
  /// What was pruned, if anything was.
  var pruning: Manifest.Pruning?
  /// The warnings of the run: skipped files, classes with too few items.
  var leftOut: [String] = []
  /// Name and value, in order.
  var settings: [(name: String, value: String)]
  var command: String

  /// The page as text.
  /// - Throws: ``GraftError`` of kind `inconsistency` if the template has an unknown placeholder.
  func html() throws -> String {
    try PageTemplate.fill(
      PageTemplate.text(PackageResources.report_html),
      [
        "policy":
          "default-src 'none'; img-src data:; style-src \(PageTemplate.digest(Self.style)); "
          + "base-uri 'none'; form-action 'none'",
        "style": Self.style, "output": output.escapedForDisplay.escapedForMarkup,
        "summary": summary, "curves": curves, "findings": pruningSection + (try findingsSection()),
        "left_out": leftOutSection, "settings": table(settings.map { [$0.name, $0.value] }),
        "command": command.escapedForMarkup, "tool": GraftVersion.tool.escapedForMarkup,
      ])
  }

  private static let style = PageTemplate.text(PackageResources.report_css)

  private func percent(_ share: Double?) -> String {
    share.map { ReportFigures.decimal(100 * $0, 2) + " %" } ?? "–"
  }

  private func name(_ label: Int) -> String {
    labels.indices.contains(label) ? labels[label].escapedForDisplay : "\(label)"
  }

  // MARK: Sections

  private var summary: String {
    var tiles: [(String, String)] = []
    if let findings {
      tiles.append(
        (
          percent(findings.metrics.top1),
          "accuracy on \(findings.metrics.count) \(findings.isHeldOut ? "held-out" : "training") items"
        ))
      tiles.append(
        (
          ReportFigures.decimal(findings.metrics.loss ?? .nan, 4),
          "mean loss of these items, in nats"
        ))
      tiles.append(
        (
          percent(findings.calibration.expectedError),
          "expected calibration error; \(percent(findings.scaled.expectedError)) at temperature "
            + ReportFigures.decimal(findings.scaled.temperature, 2)
            + (findings.scaled.isAtBound ? ", the bound of the fit" : "")
        ))
    } else if let segmentation {
      tiles += segmentationTiles(segmentation)
    } else {
      if let pictures {
        tiles.append(
          (
            decibels(pictures.peakSignalToNoise),
            "peak signal-to-noise ratio, mean of \(pictures.itemCount) "
              + "\(pictures.isHeldOut ? "held-out" : "training") items"
          ))
      }
      tiles += lossTiles
    }
    tiles.append(("\(kept)", "best epoch, of \(epochs.count)"))
    return tiles.map {
      "<div class=\"tile\"><b>\($0.0.escapedForMarkup)</b><span>\($0.1.escapedForMarkup)</span></div>"
    }.joined(separator: "\n")
  }

  private func decibels(_ ratio: Double) -> String {
    ratio.isFinite ? ReportFigures.decimal(ratio, 2) + " dB" : "∞"
  }

  private var lossTiles: [(String, String)] {
    guard let epoch = epochs.first(where: { $0.epoch == kept }) else { return [] }
    return [
      (
        ReportFigures.decimal(epoch.validationLoss ?? epoch.loss, 6),
        epoch.validationLoss == nil ? "mean training loss" : "mean validation loss"
      )
    ]
  }

  private var curves: String {
    func series(
      _ training: KeyPath<FineTuner.Epoch, Double?>, _ validation: KeyPath<FineTuner.Epoch, Double?>
    ) -> [LineChart.Series] {
      [
        .init(name: "training", style: .training, values: epochs.map { $0[keyPath: training] }),
        .init(
          name: "validation", style: .validation, values: epochs.map { $0[keyPath: validation] }),
      ].filter { !$0.points.isEmpty }
    }
    let across = LineChart.Horizontal.epochs(epochs.count)
    let marked = (x: Double(kept), text: "kept")
    var charts = [
      LineChart(
        title: "Loss", series: series(\.optionalLoss, \.validationLoss), horizontal: across,
        format: { String(format: "%.4g", $0) }, marked: marked)
    ]
    if epochs.contains(where: { $0.accuracy != nil }) {
      charts.append(
        LineChart(
          title: "Accuracy", series: series(\.accuracy, \.validationAccuracy),
          horizontal: across, format: { String(format: "%.4g %%", 100 * $0) }, marked: marked,
          limits: 0...1))
    }
    if epochs.contains(where: { $0.validationMeanIoU != nil }) {
      charts.append(
        LineChart(
          title: "Mean intersection over union",
          series: [
            .init(
              name: "validation", style: .validation, values: epochs.map(\.validationMeanIoU))
          ], horizontal: across, format: { String(format: "%.4g %%", 100 * $0) }, marked: marked,
          limits: 0...1))
    }
    charts.append(
      LineChart(
        title: "Learning rate at the end of the epoch",
        series: [.init(name: "rate", style: .training, values: epochs.map(\.learningRate))],
        horizontal: across, format: { String(format: "%.2g", $0) }))
    return charts.map { chart in
      let legend =
        chart.series.count < 2
        ? ""
        : chart.series.map { key($0.style, $0.name) }.joined()
      return "<figure><figcaption>\(chart.title.escapedForMarkup) \(legend)</figcaption>"
        + chart.drawing().svg(isFile: false) + "</figure>"
    }.joined(separator: "\n")
  }

  private func key(_ style: Drawing.Style, _ text: String) -> String {
    "<span class=\"key \(style.rawValue)\">\(text)</span>"
  }

  private var leftOutSection: String {
    guard !leftOut.isEmpty else { return "" }
    let items = leftOut.map { "<li>\($0.escapedForMarkup)</li>" }.joined(separator: "\n")
    return "<h2>Warnings</h2>\n<ul>\n\(items)\n</ul>"
  }

  private var pruningSection: String {
    guard let pruning else { return "" }
    func left(_ now: Int, of before: Int) -> [String] {
      [
        "\(before)", "\(now)",
        before == 0 ? "–" : ReportFigures.decimal(100 * Double(now) / Double(before), 1) + " %",
      ]
    }
    let totals = [
      ["multiply-adds"] + left(pruning.multiplyAdds, of: pruning.multiplyAddsBefore),
      ["parameters"] + left(pruning.parameters, of: pruning.parametersBefore),
    ]
    let layers = pruning.layers.map {
      [$0.name.escapedForDisplay] + left($0.outputs, of: $0.outputsBefore)
    }
    return "<h2>Pruned channels</h2>\n<div class=\"row\"><div>"
      + table(totals, header: ["network", "before", "after", "left"]) + "</div><div>"
      + table(layers, header: ["outputs of", "before", "after", "left"]) + "</div></div>\n"
  }

  private func findingsSection() throws -> String {
    if let segmentation { return segmentationSection(segmentation) }
    if let pictures { return picturesSection(pictures) }
    guard let findings else { return "" }
    return [
      "<h2>Most frequent confusions</h2>", try confusion(findings), mistakesSection(findings),
      reliability(findings),
    ].joined(separator: "\n")
  }

  private func confusion(_ findings: Findings) throws -> String {
    let matrix = findings.metrics.confusion
    var pairs: [(count: Int, label: Int, predicted: Int)] = []
    for (label, support) in matrix.supports.enumerated() where support > 0 {
      for predicted in 0..<matrix.classCount where predicted != label {
        let count = matrix[label: label, prediction: predicted]
        if count > 0 { pairs.append((count, label, predicted)) }
      }
    }
    pairs.sort { ($1.count, $0.label, $0.predicted) < ($0.count, $1.label, $1.predicted) }
    let list = pairs.prefix(10).map {
      [name($0.label), name($0.predicted), "\($0.count) of \(matrix.supports[$0.label])"]
    }
    let classes = findings.metrics.classReports.filter { $0.support > 0 }
      .sorted { ($0.recall ?? 0, $0.index) < ($1.recall ?? 0, $1.index) }.prefix(10)
      .map { [name($0.index), percent($0.recall), percent($0.precision), "\($0.support)"] }
    let figure =
      matrix.classCount <= ReportFigures.largestMatrix
      ? "<figure class=\"wide\"><figcaption>True class (rows), predicted class (columns)"
        + "</figcaption>"
        + (try matrix.drawing(classes: (0..<matrix.classCount).map(name), hasAxes: false)
          .svg(isFile: false)) + "</figure>"
      : ""
    let confused =
      list.isEmpty
      ? "<p>Every item was predicted correctly.</p>"
      : table(list, header: ["true class", "predicted class", "items"])
    return "<div class=\"row\">\(figure)<div><h3>Pairs of classes</h3>\(confused)</div>"
      + "<div><h3>Lowest recall</h3>"
      + table(Array(classes), header: ["class", "recall", "precision", "items"]) + "</div></div>"
  }

  private func mistakesSection(_ findings: Findings) -> String {
    guard !mistakes.isEmpty else { return "" }
    let explanation =
      featureMap.map {
        "The heat map next to each image is bright where the image supports the predicted class: "
          + "Grad-CAM (Selvaraju et al. 2017) of the feature map "
          + "<code>\($0.escapedForDisplay.escapedForMarkup)</code>."
      } ?? ""
    let figures = mistakes.map { mistake in
      var images = ""
      if let pictures = mistake.pictures {
        let alternative = mistake.file.escapedForDisplay.escapedForMarkup
        let picture = "<img alt=\"\(alternative)\" src=\"\(dataAddress(pictures.picture))\">"
        images = "<div class=\"pictures\">\(picture)"
        if let heat = pictures.heat {
          images +=
            "<span class=\"overlaid\">\(picture)<img class=\"heat\" alt=\"heat map\" "
            + "src=\"\(dataAddress(heat))\"></span>"
        }
        images += "</div>"
      }
      return "<figure>\(images)<figcaption><b>\(name(mistake.label).escapedForMarkup)</b>"
        + " (\(percent(mistake.ownProbability))) predicted as "
        + "<b>\(name(mistake.predicted).escapedForMarkup)</b> (\(percent(mistake.confidence)))"
        + "<br><span class=\"file\">\(mistake.file.escapedForDisplay.escapedForMarkup)</span>"
        + "</figcaption></figure>"
    }
    return "<h2>Wrong predictions with the largest loss</h2>\n<p>\(explanation)</p>\n"
      + "<div class=\"mistakes\">\(figures.joined(separator: "\n"))</div>"
  }

  private func segmentationTiles(_ found: SegmentationFindings) -> [(String, String)] {
    let items = "\(found.itemCount) \(found.isHeldOut ? "held-out" : "training") items"
    return [
      (
        percent(found.metrics.meanIntersectionOverUnion),
        "mean intersection over union on \(items)"
      ),
      (percent(found.metrics.accuracy), "of their pixels with a class predicted correctly"),
      (ReportFigures.decimal(found.metrics.loss ?? .nan, 4), "mean loss of a pixel, in nats"),
    ]
  }

  private func segmentationSection(_ found: SegmentationFindings) -> String {
    let classes = found.metrics.classReports.filter { $0.support + $0.predicted > 0 }.map {
      [
        name($0.index), percent($0.intersectionOverUnion), percent($0.recall), "\($0.support)",
      ]
    }
    let figures = found.worst.map { item in
      figure(
        item.pictures, ["input", "true classes", "predicted classes"],
        "mean IoU \(percent(item.meanIoU)), \(percent(item.accuracy)) of the pixels right",
        of: item.name)
    }
    return "<h2>Classes</h2>\n"
      + table(classes, header: ["class", "intersection over union", "recall", "pixels"])
      + "<h2>Items with the lowest mean intersection over union</h2>\n"
      + "<p>From left to right: the input, the true classes, the predicted classes. Class 0 and pixels "
      + "without a class have no color.</p>\n"
      + "<div class=\"mistakes\">\(figures.joined(separator: "\n"))</div>"
  }

  private func picturesSection(_ found: PictureFindings) -> String {
    let figures = found.worst.map { item in
      figure(
        item.pictures, ["input", "target", "output"],
        "\(decibels(found.peakSignalToNoise(of: item))), mean squared error "
          + String(format: "%.4g", item.meanSquaredError), of: item.name)
    }
    return "<h2>Items with the largest error</h2>\n"
      + "<p>From left to right: the input, the target, the network's output.</p>\n"
      + "<div class=\"mistakes\">\(figures.joined(separator: "\n"))</div>"
  }

  /// The pictures of an item side by side, with a text for each and one for all.
  private func figure(
    _ pictures: ItemPictures?, _ texts: [String], _ caption: String, of name: String
  ) -> String {
    let images = (pictures.map { [$0.input, $0.truth, $0.prediction] } ?? []).enumerated().map {
      let text = texts[$0]
      return "<img alt=\"\(text)\" title=\"\(text)\" src=\"\(dataAddress($1))\">"
    }
    return "<figure>"
      + (images.isEmpty ? "" : "<div class=\"pictures three\">\(images.joined())</div>")
      + "<figcaption>\(caption)<br><span class=\"file\">"
      + "\(name.escapedForDisplay.escapedForMarkup)</span></figcaption></figure>"
  }

  private func dataAddress(_ png: [UInt8]) -> String {
    "data:image/png;base64," + Data(png).base64EncodedString()
  }

  private func reliability(_ findings: Findings) -> String {
    let parts = [
      (findings.calibration, "As trained"),
      (
        findings.scaled,
        "Logits divided by \(ReportFigures.decimal(findings.scaled.temperature, 3))"
      ),
    ].map { calibration, title in
      let caption =
        "\(title): expected calibration error \(percent(calibration.expectedError)), loss "
        + ReportFigures.decimal(calibration.loss, 4)
        + (calibration.isAtBound
          ? ". The fit stopped at its bound: the loss is smaller at a temperature beyond it" : "")
      return "<figure class=\"square\"><figcaption>\(caption)</figcaption>"
        + ReportFigures.reliability(calibration, title: title).svg(isFile: false) + "</figure>"
    }
    let legend =
      key(.right, "accuracy") + key(.wrong, "gap to the mean confidence")
      + key(.diagonal, "accuracy equals confidence")
    return "<h2>Calibration</h2>\n<p>Items are grouped by the probability of "
      + "the predicted class into \(findings.calibration.bins.count) bins. A bar is the accuracy "
      + "of its items; the expected calibration error is the weighted mean gap between accuracy and confidence "
      + "(Guo et al. 2017). The temperature minimizes the loss on "
      + "these same \(findings.calibration.count) items, so it is slightly optimistic for new "
      + "items. It does not change the predicted class.</p>\n"
      + "<p>\(legend)</p>\n<div class=\"row\">\(parts.joined(separator: "\n"))</div>"
  }

  private func table(_ rows: [[String]], header: [String]? = nil) -> String {
    func cells(_ row: [String], _ tag: String) -> String {
      "<tr>" + row.map { "<\(tag)>\($0.escapedForMarkup)</\(tag)>" }.joined() + "</tr>"
    }
    let head = header.map { "<thead>\(cells($0, "th"))</thead>" } ?? ""
    return "<table>\(head)<tbody>" + rows.map { cells($0, "td") }.joined(separator: "\n")
      + "</tbody></table>"
  }
}

extension FineTuner.Epoch {
  fileprivate var optionalLoss: Double? { loss }
}
