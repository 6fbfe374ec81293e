// --precision auto: what it compares, what it chooses, and that the bundle is the one that was measured.

import Foundation
import GraftDiagnostics
import GraftTesting
import Testing

@testable import Graft

@Suite struct PrecisionSearchTests {
  private func candidate(
    _ precision: Precision, time: Double, isAccurate: Bool = true
  ) -> PrecisionReport.Candidate {
    PrecisionReport.Candidate(
      precision: precision, milliseconds: time, relativeTime: time, weightBytes: 1, top1: nil,
      comparison: nil, isAccurate: isAccurate)
  }

  @Test func theFastestOfTheAccurateIsChosen() {
    let wide = candidate(.float32, time: 1)
    #expect(PrecisionReport.fastest(of: [wide]) == .float32)
    let half = candidate(.bfloat16, time: 0.6)
    #expect(PrecisionReport.fastest(of: [wide, half]) == .bfloat16)
    #expect(
      PrecisionReport.fastest(of: [wide, half, candidate(.int8, time: 0.4)]) == .int8)
    #expect(
      PrecisionReport.fastest(of: [wide, half, candidate(.int8, time: 0.4, isAccurate: false)])
        == .bfloat16)
    // What gains less than measurements differ stays wide.
    #expect(
      PrecisionReport.fastest(of: [wide, half, candidate(.int8, time: 0.599)]) == .bfloat16)
    #expect(PrecisionReport.fastest(of: [wide, candidate(.int8, time: 1.3)]) == .float32)
    #expect(PrecisionReport.fastest(of: [wide, candidate(.int8, time: .nan)]) == .float32)
  }

  @Test func theBundleIsTheOneThatWasMeasured() throws {
    try withTemporaryFolder { folder in
      let harmed = try HarmedModel(in: folder)
      var options = Compiler.Options()
      options.narrowTarget = .native(for: .int8)
      options.quantization = QuantizationOptions(calibrationData: harmed.data + "/x.npy")
      options.accuracy = AccuracyOptions(data: harmed.data)
      options.accuracy?.mostDrop = 4
      let path = folder + "/auto.graft"
      let report = try Compiler(options).compileFastest(harmed.model, to: path)
      let choice = try #require(report.choice)
      #expect(choice.candidates.first?.precision == .float32)
      #expect(choice.candidates.first?.relativeTime == 1)
      let narrow = try #require(choice.candidates.first { $0.precision == .int8 })
      let comparison = try #require(narrow.comparison)
      #expect(narrow.isAccurate && comparison.drop <= 4 && comparison.items == 300)
      let chosen = try #require(choice.candidates.first { $0.precision == choice.chosen })
      #expect(chosen.relativeTime <= 1 && report.precision == choice.chosen)
      let bundle = try ModelBundle(opening: path)
      try bundle.verify()
      #expect(bundle.manifest.precision == choice.chosen)
      var evaluator = try Evaluator(bundle)
      #expect(try evaluator.evaluate(harmed.data).top1 == chosen.top1)
      let names = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(!names.contains { $0.hasPrefix(".auto") }, "\(names)")
    }
  }

  @Test func withoutRangesInt8IsNotTried() throws {
    let fixture = try ModelFixture.named("winograd_residual")
    try withTemporaryFolder { folder in
      let result = try GraftProgram.run([
        "compile", fixture.modelPath, "-o", folder + "/auto.graft", "--precision", "auto",
        "--tune", "off",
      ])
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output.contains("int8      was not tried, because it needs --calibrate"))
      #expect(result.output.contains("\nchosen    "))
    }
  }

  @Test func targetsOfOtherMachinesAreRefused() throws {
    let fixture = try ModelFixture.named("winograd_residual")
    let foreign =
      CompilationTarget.native.isRunnable && CompilationTarget.native.name == "aarch64"
      ? "x86-64-v3" : "aarch64"
    try withTemporaryFolder { folder in
      let result = try GraftProgram.run([
        "compile", fixture.modelPath, "-o", folder + "/auto.graft", "--precision", "auto",
        "--target", foreign,
      ])
      #expect(result.status != 0)
      #expect(result.errors.contains("this machine cannot run \(foreign)"))
      #expect(!FileManager.default.fileExists(atPath: folder + "/auto.graft"))
    }
  }
}
