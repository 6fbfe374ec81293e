// What a range test makes of a curve whose steepest point and minimum are known in closed form.

import Foundation
import GraftDiagnostics
import GraftTesting
import Testing

@testable import GraftTraining

@Suite struct LearningRateSearchTests {
  private static let steps = 400

  private static func losses(_ loss: (_ logRate: Double) -> Double) -> [Double] {
    (0..<steps).map { loss(-6 + 7 * Double($0) / Double(steps - 1)) }
  }

  @Test("A logistic fall is steepest at its center, with noise of a known seed too")
  func steepest() throws {
    for noise in [0.0, 0.05] {
      var random = SplitMix(seed: 1)
      let losses = Self.losses { x in
        2 / (1 + exp(6 * (x + 3))) + exp(3 * (x - 0.3)) + noise * random.number(in: -0.5...0.5)
      }
      let found = try FineTuner.LearningRateSearch(losses: losses, of: Self.steps)
      #expect(abs(log10(found.steepest) + 3) < 0.1, "\(found.steepest)")
      #expect(found.suggestion == min(found.steepest, found.minimumTenth))
    }
  }

  @Test("A parabola has its lowest point where it has it")
  func minimum() throws {
    let losses = Self.losses { 1 + ($0 + 1.5) * ($0 + 1.5) }
    let found = try FineTuner.LearningRateSearch(losses: losses, of: Self.steps)
    #expect(abs(log10(found.minimumTenth) + 2.5) < 0.03, "\(found.minimumTenth)")
    // A parabola is steepest where it begins.
    #expect(found.steepest < 1e-5)
    #expect(found.svg().contains("suggestion"))
  }

  @Test func tooFewLosses() {
    let error = #expect(throws: GraftError.self) {
      _ = try FineTuner.LearningRateSearch(losses: [1, 2, 3], of: 100)
    }
    #expect(error?.message.hasPrefix("the loss diverged after 3 steps") == true)
  }
}
