// The pieces of a run's report that need no network: axes, escaping, pages with little to show.

import Foundation
import GraftData
import GraftTesting
import Testing

@testable import GraftTraining

@Suite struct RunReportTests {
  @Test func axesHaveRoundNumbersAroundTheValues() {
    func ticks(_ low: Double, _ high: Double, _ limits: ClosedRange<Double>? = nil) -> [Double] {
      AxisTicks.values(from: low, to: high, within: limits)
    }
    #expect(ticks(0.12, 0.87) == [0, 0.2, 0.4, 0.6, 0.8, 1])
    #expect(ticks(1.19, 2.07) == [1, 1.5, 2, 2.5])
    #expect(ticks(0.93, 0.99, 0...1) == [0.92, 0.94, 0.96, 0.98, 1])
    #expect(ticks(0.96, 1, 0...1).last == 1)
    for (low, high) in [(0.3, 0.3), (0, 0), (-2, 1e-9), (1e-12, 3e8)] {
      let found = AxisTicks.values(from: low, to: high)
      #expect((2...12).contains(found.count), "\(low) \(high): \(found)")
      let slack = 1e-6 * max(high - low, abs(high))
      #expect((found.first ?? .infinity) <= low + slack)
      #expect((found.last ?? -.infinity) >= high - slack)
    }
  }

  @Test(arguments: [
    "plain-1.0/x", "", "two words", "it's", "$(rm -rf /)", "a\"b\\c", "`x`;&|<>", "*?[a]", "~", "é",
    "-n", "a=b", "#x", "!x",
  ])
  func wordsSurviveAShell(_ word: String) throws {
    let result = try GraftProgram.run("/bin/sh", ["-c", "printf '%s|' \(word.quotedForShell) end"])
    #expect(result.output == word + "|end|")
  }

  private func epoch(_ number: Int, loss: Double) -> FineTuner.Epoch {
    FineTuner.Epoch(
      epoch: number, loss: loss, learningRate: 0.1, seconds: 1, imagesPerSecond: 10, time: 0)
  }

  @Test("A chart is labeled at round numbers, epochs and powers of ten")
  func chartsHaveRoundLabels() {
    func labels(_ chart: LineChart) -> [String] {
      chart.drawing().shapes.compactMap { shape in
        guard case .text(_, _, let text, .tick, _, _) = shape else { return nil }
        return text
      }
    }
    let values = (1...30).map { 1.58 - 0.0319 * Double($0) }
    #expect(
      labels(
        LineChart(
          title: "Loss", series: [.init(name: "a", style: .training, values: values)],
          horizontal: .epochs(30), format: { String(format: "%.4g", $0) }))
        == ["0.5", "1", "1.5", "2", "1", "5", "10", "15", "20", "25", "30", "epoch"])
    let rates = [1e-6, 1e-3, 2].map { Drawing.Point($0, 1) }
    #expect(
      labels(
        LineChart(
          title: "", series: [.init(name: "a", style: .training, points: rates)],
          horizontal: .rates(1e-6...2), format: { String(format: "%.4g", $0) })
      ).suffix(8) == ["1e-6", "1e-5", "1e-4", "1e-3", "0.01", "0.1", "1", "learning rate"])
  }

  @Test("A reliability diagram tells how many items each bin has")
  func reliability() throws {
    // Confidences of 0.5 and 0.993: five items, three of them in the last bin.
    let logits: [Float] = [0, 0, 0, 0, 5, 0, 5, 0, 0, 5]
    let calibration = try Calibration(
      logits: logits, labels: [0, 1, 0, 1, 1], classCount: 2, binCount: 10)
    let shapes = ReportFigures.reliability(calibration, title: "as trained").shapes
    let counts = shapes.compactMap { shape -> String? in
      guard case .text(_, _, let text, .tick, _, -90) = shape else { return nil }
      return text
    }
    #expect(counts == ["accuracy", "2", "3"])
    #expect(
      try Calibration(logits: [1, 0], labels: [0], classCount: 2, temperature: 0.05).isAtBound)
    #expect(!calibration.isAtBound)
  }

  @Test func aRegressionHasAPageToo() throws {
    let page = try RunReport(
      output: "</title><script>x.graft", epochs: [epoch(1, loss: 2), epoch(2, loss: .nan)], kept: 1,
      labels: [], mistakes: [], leftOut: ["<a>: 2 items are left out"],
      settings: [("data", "a & b")], command: "graft finetune '<a>'"
    ).html()
    #expect(page.contains("mean training loss") && !page.contains("Most frequent confusions"))
    #expect(page.contains("a &amp; b") && page.contains("graft finetune &#39;&lt;a&gt;&#39;"))
    #expect(page.contains("<li>&lt;a&gt;: 2 items are left out</li>"))
    #expect(!page.contains("<script") && !page.contains("{{"))
  }
}
