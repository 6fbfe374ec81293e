// Reliability and temperature against NumPy and SciPy (tools/make-data-fixtures), and cases that can be
// done by hand.

import Foundation
import GraftData
import GraftDiagnostics
import Testing

@Suite struct CalibrationTests {
  struct Expected: Decodable {
    var temperature: Double
    /// count, confidence, accuracy
    var bins: [[Double]]
    var error: Double
    var loss: Double
  }

  @Test func agreesWithNumPy() throws {
    let report = try MetricsTests.report()
    let expected = try JSONDecoder().decode(
      [Expected].self, from: Data(contentsOf: Fixture.all.appending(path: "calibration.json")))
    #expect(expected.count == 2)
    let fitted = try Calibration.fittedTemperature(
      logits: report.logits, labels: report.labels, classCount: 7)
    #expect(abs(fitted - expected[1].temperature) < 1e-6)
    for one in expected {
      let found = try Calibration(
        logits: report.logits, labels: report.labels, classCount: 7, temperature: one.temperature)
      #expect(found.count == 40)
      #expect(abs(found.expectedError - one.error) < 1e-9)
      #expect(abs(found.loss - one.loss) < 1e-9)
      for (bin, numbers) in zip(found.bins, one.bins) {
        #expect(bin.count == Int(numbers[0]))
        #expect(abs(bin.confidence - numbers[1]) < 1e-9 && abs(bin.accuracy - numbers[2]) < 1e-9)
      }
    }
  }

  @Test func twoItemsByHand() throws {
    // Confidence 0.8 each, one right: the error is 0.3; the best temperature makes it one half.
    let logits: [Float] = [log(4), 0, log(4), 0]
    let found = try Calibration(logits: logits, labels: [0, 1], classCount: 2)
    #expect(abs(found.expectedError - 0.3) < 1e-7)
    #expect(found.bins.map(\.count).max() == 2)
    // Three of four right at 0.8: T = log 4 / log 3.
    let four = try Calibration.fittedTemperature(
      logits: logits + logits, labels: [0, 1, 0, 0], classCount: 2)
    #expect(abs(four - log(4.0) / log(3.0)) < 1e-6)
  }

  @Test func whatHasNoLeastIsAtTheEdge() throws {
    let logits: [Float] = [2, 0, 0, 2]
    func fitted(_ labels: [Int]) throws -> Double {
      try Calibration.fittedTemperature(logits: logits, labels: labels, classCount: 2)
    }
    #expect(try fitted([0, 1]) == Calibration.temperatures.lowerBound)
    #expect(try fitted([1, 0]) == Calibration.temperatures.upperBound)
  }

  @Test func refusesWhatDoesNotFit() {
    #expect(throws: GraftError.self) {
      try Calibration(logits: [1, 2, 3], labels: [0], classCount: 2)
    }
    #expect(throws: GraftError.self) {
      try Calibration.fittedTemperature(logits: [1, 2], labels: [2], classCount: 2)
    }
  }
}
