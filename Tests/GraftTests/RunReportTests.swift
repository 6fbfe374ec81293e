// The pieces of a run's report that need no network: axes, escaping, pages with little to show.

import Foundation
import GraftTesting
import Testing

@testable import Graft

@Suite struct RunReportTests {
  @Test func axesHaveRoundNumbersAroundTheValues() {
    func ticks(_ low: Double, _ high: Double, _ limits: ClosedRange<Double>? = nil) -> [Double] {
      LineChart.ticks(from: low, to: high, within: limits).map { ($0 * 1e9).rounded() / 1e9 }
    }
    #expect(ticks(0.12, 0.87) == [0, 0.2, 0.4, 0.6, 0.8, 1])
    #expect(ticks(1.19, 2.07) == [1, 1.5, 2, 2.5])
    #expect(ticks(0.93, 0.99, 0...1) == [0.92, 0.94, 0.96, 0.98, 1])
    #expect(ticks(0.96, 1, 0...1).last == 1)
    for (low, high) in [(0.3, 0.3), (0, 0), (-2, 1e-9), (1e-12, 3e8)] {
      let found = LineChart.ticks(from: low, to: high)
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

  @Test func aRegressionHasAPageToo() throws {
    let page = try RunReport(
      output: "</title><script>x.graft", epochs: [epoch(1, loss: 2), epoch(2, loss: .nan)], kept: 1,
      labels: [], mistakes: [], settings: [("data", "a & b")], command: "graft finetune '<a>'"
    ).html()
    #expect(page.contains("mean training loss") && !page.contains("Who is taken for whom"))
    #expect(page.contains("a &amp; b") && page.contains("graft finetune &#39;&lt;a&gt;&#39;"))
    #expect(!page.contains("<script") && !page.contains("{{"))
  }
}
