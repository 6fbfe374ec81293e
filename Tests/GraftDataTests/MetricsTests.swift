// Figures against scikit-learn and PyTorch (tools/make-data-fixtures), closed forms, and the tables.

import Foundation
import FoundationXML
import GraftData
import GraftDiagnostics
import Testing

@Suite struct MetricsTests {
  struct Report: Decodable {
    var logits: [Float], labels: [Int]
    var top1, top3, top5, loss: Double
    var softmax, precision, recall, f1: [Double]
    var support, confusion: [Int]
  }

  static func report() throws -> Report {
    try JSONDecoder().decode(
      Report.self, from: Data(contentsOf: Fixture.all.appendingPathComponent("metrics.json")))
  }

  @Test func agreesWithScikitLearn() throws {
    let report = try Self.report()
    var metrics = try ClassificationMetrics(classCount: 7, outputKind: .logits)
    // In two parts, as batches come.
    try metrics.add(outputs: Array(report.logits[..<70]), labels: Array(report.labels[..<10]))
    try metrics.add(outputs: Array(report.logits[70...]), labels: Array(report.labels[10...]))
    #expect(metrics.count == 40 && metrics.k == 5)
    #expect(metrics.top1 == report.top1 && metrics.topK == report.top5)
    #expect(abs((metrics.loss ?? 0) - report.loss) < 1e-12)
    for (found, index) in zip(metrics.classReports, 0...) {
      #expect(found.support == report.support[index])
      #expect(abs((found.precision ?? 0) - report.precision[index]) < 1e-12)
      #expect(abs((found.recall ?? 0) - report.recall[index]) < 1e-12)
      #expect(abs((found.f1 ?? 0) - report.f1[index]) < 1e-12)
      for other in 0..<7 {
        #expect(
          metrics.confusion[label: index, prediction: other] == report.confusion[index * 7 + other])
      }
    }
    #expect(metrics.classReports[6].recall == nil)
    var three = try ClassificationMetrics(classCount: 7, outputKind: .logits, k: 3)
    try three.add(outputs: report.logits, labels: report.labels)
    #expect(three.topK == report.top3)
    for (found, expected) in zip(Scores.softmax(report.logits[..<7]), report.softmax) {
      #expect(abs(Double(found) - expected) < 1e-7)
    }
  }

  @Test func computesLossOfProbabilities() throws {
    var metrics = try ClassificationMetrics(classCount: 2, outputKind: .probabilities)
    try metrics.add(outputs: [0.25, 0.75, 0.5, 0.5], labels: [0, 1])
    #expect(abs((metrics.loss ?? 0) - (log(4.0) + log(2.0)) / 2) < 1e-12)
    #expect(metrics.top1 == 0 && metrics.topK == 1 && metrics.k == 2)
    try metrics.add([1, 0], label: 1)
    #expect(metrics.loss?.isFinite == true)
  }

  @Test func ranksTiesAndNonNumbers() throws {
    #expect(Scores.best(3, of: [1, 3, 3, 2] as [Float]) == [1, 2, 3])
    #expect(Scores.best(9, of: [.nan, 1, .nan, 2] as [Float]) == [3, 1, 0, 2])
    #expect(Scores.best(2, of: [.nan, 1, .nan, 2] as [Float]) == [3, 1])
    #expect(Scores.best(0, of: [1, 2] as [Float]) == [])
    #expect(Scores.best(2, of: [-.infinity, .infinity] as [Float]) == [1, 0])
    #expect(Scores.softmax([1000, 1000] as [Float]) == [0.5, 0.5])
    #expect(Scores.softmax([] as [Float]) == [])
    var metrics = try ClassificationMetrics(classCount: 2, outputKind: .logits)
    #expect(metrics.top1 == nil && metrics.loss == nil)
    try metrics.add([.nan, 1], label: 1)
    #expect(metrics.nonFiniteCount == 1 && metrics.top1 == 0 && metrics.loss == nil)
    expectError(.invalidArgument, containing: "the label 2 is outside the network's 2 classes") {
      try metrics.add([0, 1], label: 2)
    }
    expectError(.invalidArgument, containing: "3 outputs for 2 items of 2 classes") {
      try metrics.add(outputs: [0, 1, 2], labels: [0, 1])
    }
    expectError(.invalidArgument, containing: "confusion matrix of 0 classes") {
      _ = try ConfusionMatrix(classCount: 0)
    }
    expectError(.invalidData, containing: " pixels exceeds the limit") {
      _ = try ConfusionMatrix(classCount: 100_000).drawing(hasAxes: true)
    }
  }

  @Test func writesTables() throws {
    var metrics = try ClassificationMetrics(classCount: 2, outputKind: .logits)
    try metrics.add(outputs: [1, 0, 0, 1, 0, 1], labels: [0, 0, 1])
    #expect(
      metrics.confusion.csv(classes: ["a,\"b\"", "c"])
        == "true\\predicted,\"a,\"\"b\"\"\",c\r\n\"a,\"\"b\"\"\",1,1\r\nc,0,1\r\n")
    #expect(CSV.line(["x", "y\nz"]) == "x,\"y\nz\"\r\n")
  }

  @Test func drawsWhatItCounts() throws {
    var metrics = try ClassificationMetrics(classCount: 2, outputKind: .logits)
    try metrics.add(outputs: [1, 0, 0, 1, 0, 1, 1, 0], labels: [0, 1, 1, 1])
    let drawing = try metrics.confusion.drawing(classes: ["cat", "dög"], hasAxes: true)
    let picture = try Image(decoding: try drawing.png())
    #expect(picture.width == drawing.width && picture.height == drawing.height)
    // The cells' upper left corners, of the color over white paper with the opacity of the cell: all of row
    // 0 is right; two thirds of row 1 are, and a third is wrong.
    let boxes = drawing.shapes.compactMap { shape -> (Int, Int, Drawing.Style, Double)? in
      guard case .box(let x, let y, _, _, let style, let opacity, _) = shape, style != .tick else {
        return nil
      }
      return (Int(x) + 3, Int(y) + 3, style, opacity)
    }
    #expect(boxes.map(\.2) == [.right, .wrong, .right])
    let shares: [Double] = [1, 1 / 3.0, 2 / 3.0]
    for (box, share) in zip(boxes, shares) {
      let opacity: Double = 0.15 + 0.8 * sqrt(share)
      #expect(abs(box.3 - opacity) < 1e-12)
      let (red, green, blue) = box.2.color
      let found = try #require(picture[x: box.0, y: box.1])
      // The plain box below is 7 % of gray.
      let paper = 0.93 * 255.0 + 0.07 * 98.0
      for (value, color) in zip(found, [red, green, blue]) {
        let expected: Double = box.3 * Double(color) + (1.0 - box.3) * paper
        #expect(abs(Double(value) - expected) < 3.0)
      }
    }
    for count in [1, 30, 170] {
      let drawn = try ConfusionMatrix(classCount: count).drawing(hasAxes: true)
      #expect(drawn.width >= count && drawn.width < 3000)
    }
  }

  @Test func figuresAreWellFormedWhateverNamesHold() throws {
    var metrics = try ClassificationMetrics(classCount: 2, outputKind: .logits)
    try metrics.add(outputs: [1, 0, 1, 0], labels: [0, 1])
    let names = ["<script>&\"'\u{1}\u{fffe}", "</svg>"]
    let text = try metrics.confusion.drawing(classes: names, hasAxes: true).svg(isFile: true)
    let parser = XMLParser(data: Data(text.utf8))
    #expect(parser.parse(), "\(String(describing: parser.parserError)) in \(text)")
    #expect(!text.contains("<script>"))
  }
}
