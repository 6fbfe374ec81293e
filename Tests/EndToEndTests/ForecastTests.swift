// `graft finetune --plan`: counts in closed form, memory against what a run then has.

import Foundation
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/training")

@Suite("What a run will take")
struct ForecastTests {
  @Test func countsAreRightAndMemoryIsWhatARunHas() throws {
    try withTemporaryFolder { folder in
      let bundle = folder + "/network.graft"
      try Compiler().compile(fixtures.appending(path: "network.onnx").path, to: bundle)
      let arguments = [
        "finetune", bundle, "--data", fixtures.path, "--head", "keep", "--unfreeze", "depthwise",
        "--val-split", "0.25", "--batch-size", "3", "--epochs", "4", "--json",
      ]
      let before = try FileManager.default.contentsOfDirectory(atPath: folder)
      let told = try GraftProgram.run(
        arguments + ["--plan", "-o", folder + "/tuned.graft"])
      try #require(told.status == 0, "\(told.errors)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == before)
      let plan = try JSONDecoder().decode(Forecast.self, from: Data(told.output.utf8))

      let trained = ["depthwise", "grouped", "fc"].flatMap { ["\($0).weight", "\($0).bias"] }
      #expect(Set(plan.trained.map(\.name)) == Set(trained))
      #expect(plan.trainedParameters == [72, 8, 32, 8, 32, 4].reduce(0, +))
      // conv1, bn1, conv2, bn2, down.
      #expect(plan.frozenParameters == [162, 24, 440, 32, 48].reduce(0, +))
      // One of the 3 items in each of 4 classes is held out.
      #expect(plan.trainingItems == 8 && plan.validationItems == 4)
      #expect(plan.memory.cache == 12 * 8 * 3 * 3 * 4)
      // Convolutions before the line: 12² · 27 · 6, 3² · 54 · 8, 3² · 6 · 8. One for each element that the
      // first BatchNorm, relu and the pooling's windows read, and for BatchNorm, sum and relu of the block.
      let trunk = 23_328 + 3_888 + 432 + 3 * 6 * 12 * 12 + 3 * 8 * 3 * 3
      #expect(plan.work.trunk == 2 * trunk)
      // Forward behind it: 3² · 8 · 9, 3² · 8 · 4, 8 · 4; with gradients of weights and of all values
      // but the first layer's input two to four times that.
      let forward = 2 * (648 + 288 + 32)
      #expect((2 * forward...4 * forward).contains(plan.work.step))
      #expect(plan.seconds.epoch > 0 && plan.seconds.total >= 4 * plan.seconds.epoch)

      let run = try GraftProgram.run(arguments + ["-o", folder + "/tuned.graft"])
      try #require(run.status == 0, "\(run.errors)")
      let report = try JSONDecoder().decode(FineTuner.Report.self, from: Data(run.output.utf8))
      let ratio = Double(plan.memory.peak) / Double(report.peakBytes)
      #expect((0.9...1.1).contains(ratio), "\(plan.memory.peak) for \(report.peakBytes)")
    }
  }

  @Test func linesSayTheSame() throws {
    try withTemporaryFolder { folder in
      let bundle = folder + "/network.graft"
      try Compiler().compile(fixtures.appending(path: "network.onnx").path, to: bundle)
      let told = try GraftProgram.run([
        "finetune", bundle, "--data", fixtures.path, "--plan", "--batch-size", "4",
      ])
      try #require(told.status == 0, "\(told.errors)")
      for start in ["trains      36 parameters in 2 tensors", "cache  ", "memory ", "time   "] {
        #expect(told.output.contains(start), "\(told.output)")
      }
    }
  }
}
