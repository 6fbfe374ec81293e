// Fine-tuning on data that are few or uneven: what happens is told, and a plan works wherever a run does.

import Foundation
import GraftData
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/training")

@Suite("Fine-tuning on few or uneven data")
struct SmallDataTests {
  private static func bundle(in folder: String) throws -> String {
    let bundle = folder + "/network.graft"
    var options = Compiler.Options()
    options.tuning = .off
    options.preprocessing = "cifar10"
    try Compiler(options).compile(fixtures.appending(path: "network.onnx").path, to: bundle)
    return bundle
  }

  /// Class folders with so many pictures each.
  private static func data(_ name: String, _ counts: [Int], in folder: String) throws -> String {
    let path = folder + "/" + name
    for (label, count) in counts.enumerated() {
      let own = String(format: "%@/class%03d", path, label)
      try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
      for number in 0..<count {
        let value = UInt8(truncatingIfNeeded: label * 40 + number)
        let picture = try Image(
          width: 4, height: 4, channels: 1, pixels: [UInt8](repeating: value, count: 16))
        try Data(picture.encodedPNG()).write(
          to: URL(filePath: String(format: "%@/%04d.png", own, number)))
      }
    }
    return path
  }

  private static func options(_ data: String) -> FineTuner.Options {
    var options = FineTuner.Options(data: data)
    options.epochs = 1
    options.learningRate = 1e-6
    return options
  }

  @Test func fewerItemsThanABatch() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      var options = Self.options(try Self.data("few", [3, 2, 1], in: folder))
      // Memory goes by the items, not by what was asked for.
      options.batchSize = 65_536
      var tuner = try FineTuner(bundle, options)
      var notes: [String] = []
      let report = try tuner.run(to: folder + "/tuned.graft") { event in
        if case .note(let text) = event { notes.append(text) }
      }
      #expect(report.trainingItems == 4 && report.validationItems == 2)
      #expect(notes.contains { $0.contains("each step uses all 4 training items") }, "\(notes)")
      #expect(
        tuner.warnings.map(\.message) == ["classes without validation items: \"class002\""])
      #expect(report.peakBytes < 1 << 30)
    }
  }

  @Test func onePictureAClass() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      var tuner = try FineTuner(bundle, Self.options(try Self.data("one", [1, 1, 1], in: folder)))
      let report = try tuner.run(to: folder + "/tuned.graft")
      #expect(report.trainingItems == 3 && report.validationItems == 0)
      #expect(
        tuner.warnings.contains {
          $0.message.contains("there is no validation data: no class has two")
        })
    }
  }

  @Test("A plan and a memory limit do not need every class in the rehearsal's items")
  func rareClasses() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      for counts in [[100, 2], [Int](repeating: 2, count: 30)] {
        var options = Self.options(try Self.data("d\(counts.count)", counts, in: folder))
        options.batchSize = 4
        var planner = try FineTuner(bundle, options)
        let forecast = try planner.forecast()
        #expect(forecast.trainingItems + forecast.validationItems == counts.reduce(0, +))
        #expect(forecast.trainedParameters == counts.count * 9)
      }
      var options = Self.options(folder + "/d2")
      options.batchSize = 4
      options.memoryLimit = 2 << 30
      var tuner = try FineTuner(bundle, options)
      #expect(try tuner.run(to: folder + "/tuned.graft").trainingItems == 81)
    }
  }

  @Test("A checkpoint is of the same data whatever normal form a file system keeps names in")
  func checkpointAcrossNormalForms() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      for (name, form) in [("nfc", "caf\u{e9}"), ("nfd", "cafe\u{301}")] {
        let data = try Self.data(name, [4, 4], in: folder)
        try FileManager.default.moveItem(atPath: data + "/class000", toPath: data + "/" + form)
      }
      var options = Self.options(folder + "/nfc")
      options.checkpoint = folder + "/checkpoint"
      var tuner = try FineTuner(bundle, options)
      _ = try tuner.run(to: folder + "/first.graft")
      options.data = folder + "/nfd"
      options.resumes = true
      var resumed = try FineTuner(bundle, options)
      #expect(try resumed.run(to: folder + "/second.graft").epochs.count == 1)
      let evaluator = { (data: String) in
        var evaluator = try Evaluator(ModelBundle(opening: folder + "/first.graft"), threads: 1)
        return try evaluator.evaluate(folder + "/" + data).images
      }
      #expect(try evaluator("nfd") == 8)
    }
  }

  @Test func gapsInClassIndices() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      let x = try NPYArray(contentsOf: fixtures.appending(path: "x.npy").path)
      let count = x.shape[0]
      func write(_ labels: [Int64]) throws {
        try Data(NPYArray(labels, shape: [count]).encoded()).write(
          to: URL(filePath: folder + "/y.npy"))
      }
      try Data(x.encoded()).write(to: URL(filePath: folder + "/x.npy"))
      try write((0..<count).map { Int64($0 % 3 + 1) })
      var tuner = try FineTuner(bundle, Self.options(folder))
      _ = try tuner.run(to: folder + "/tuned.graft")
      #expect(
        tuner.warnings.contains {
          $0.message.contains("no item is of class 0") && $0.message.contains("save y - 1")
        })
      try write((0..<count).map { Int64($0 % 3 * 1_000_000_000) })
      var wide = try FineTuner(bundle, Self.options(folder))
      let error = #expect(throws: (any Error).self) { try wide.run(to: folder + "/wide.graft") }
      #expect("\(String(describing: error))".contains("only 3 classes have items"))
    }
  }
}
