// Networks with a class for every pixel: training, evaluation and masks against PyTorch.

import Foundation
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/segmentation")

@Suite("A class for every pixel")
struct SegmentationTests {
  /// What tools/make-segmentation-fixture writes.
  struct Expected: Decodable {
    struct Judgment: Decodable {
      var loss: Double
      var accuracy: Double
      var meanIoU: Double

      enum CodingKeys: String, CodingKey {
        case loss, accuracy
        case meanIoU = "mean_iou"
      }
    }

    struct Run: Decodable {
      var mode: String
      var shaped: Bool
      var losses: [Double]
      var validation: [Judgment]
    }

    var start: Judgment
    var runs: [Run]

    static func read() throws -> Expected {
      try JSONDecoder().decode(
        Expected.self, from: Data(contentsOf: fixtures.appending(path: "expected.json")))
    }
  }

  private static func bundle(in folder: String) throws -> String {
    let bundle = folder + "/network.graft"
    var options = Compiler.Options()
    options.tuning = .off
    options.preprocessing = fixtures.appending(path: "preprocess.json").path
    try Compiler(options).compile(fixtures.appending(path: "network.onnx").path, to: bundle)
    return bundle
  }

  private static func options() -> FineTuner.Options {
    var options = FineTuner.Options(data: fixtures.path)
    options.validationData = fixtures.path
    options.head = .keep
    options.unfreeze = .all
    options.epochs = 6
    options.learningRate = 0.2
    options.momentum = 0.9
    options.schedule = LearningRateSchedule(.constant)
    return options
  }

  private func isNear(_ found: Double?, _ expected: Double, _ limit: Double = 2e-4) -> Bool {
    found.map { abs($0 - expected) <= limit * max(1, abs(expected)) } ?? false
  }

  @Test("losses, pixel accuracy and mean IoU of six steps are PyTorch's", arguments: 0..<4)
  func steps(_ number: Int) throws {
    let expected = try Expected.read().runs[number]
    try withTemporaryFolder { folder in
      var options = Self.options()
      options.normalization = expected.mode == "train" ? .train : .frozen
      if expected.shaped {
        options.classWeights = .balanced
        options.labelSmoothing = 0.1
      }
      var tuner = try FineTuner(try Self.bundle(in: folder), options)
      let report = try tuner.run(to: folder + "/tuned.graft")
      for (epoch, (loss, judgment)) in zip(
        report.epochs, zip(expected.losses, expected.validation))
      {
        #expect(isNear(epoch.loss, loss), "\(epoch.epoch): \(epoch.loss), PyTorch \(loss)")
        #expect(isNear(epoch.validationLoss, judgment.loss), "\(epoch.epoch)")
        // One pixel of 1,152 may be at a tie.
        #expect(isNear(epoch.validationAccuracy, judgment.accuracy, 1e-3), "\(epoch.epoch)")
        #expect(isNear(epoch.validationMeanIoU, judgment.meanIoU, 4e-3), "\(epoch.epoch)")
      }
      let best = report.epochs.map { $0.validationMeanIoU ?? 0 }.max()
      #expect(report.epochs[report.kept - 1].validationMeanIoU == best)
    }
  }

  @Test("evaluate agrees with PyTorch, and masks with evaluate")
  func evaluation() throws {
    let expected = try Expected.read().start
    try withTemporaryFolder { folder in
      let bundle = try ModelBundle(opening: try Self.bundle(in: folder))
      #expect(bundle.hasPositions && bundle.manifest.classAxis == 1)
      var evaluator = try SegmentationEvaluator(bundle, threads: 1, batchSize: 4)
      let report = try evaluator.evaluate(fixtures.path)
      #expect(report.images == 6 && report.classes.count == 4)
      #expect(isNear(report.loss, expected.loss))
      #expect(isNear(report.pixelAccuracy, expected.accuracy, 1e-9))
      #expect(isNear(report.meanIntersectionOverUnion, expected.meanIoU, 1e-9))

      var metrics = try PositionMetrics(classCount: 4, outputKind: .scores)
      let images = (0..<6).map { fixtures.appending(path: "images/\($0).png").path }
      var number = 0
      try Segmenter(bundle, threads: 1).segment(images) { answer in
        var answer = answer
        try answer.write(to: folder + "/masks")
        let mask = try LabelMap(contentsOf: folder + "/masks/\(answer.mask ?? "")")
        let truth = try LabelMap(contentsOf: fixtures.appending(path: "masks/\(number).png").path)
        var scores = [Float](repeating: 0, count: 4 * mask.values.count)
        for (pixel, value) in mask.values.enumerated() { scores[4 * pixel + Int(value)] = 1 }
        try metrics.add(
          PositionScores(scores[...], units: 4, stride: 1), labels: truth.values)
        let overlay = try Image(contentsOf: folder + "/masks/\(answer.overlay ?? "")")
        #expect(overlay.width == 16 && overlay.height == 12)
        #expect(abs(answer.classes.reduce(0) { $0 + $1.share } - 1) < 1e-9)
        number += 1
      }
      var writer = try DataWriter(bundle)
      #expect(try writer.write(fixtures.path, to: folder + "/tensors", threads: 1) == 6)
      var again = try SegmentationEvaluator(bundle, threads: 1)
      #expect(
        try again.evaluate(folder + "/tensors").meanIntersectionOverUnion
          == report.meanIntersectionOverUnion)

      #expect(metrics.accuracy == report.pixelAccuracy)
      #expect(metrics.meanIntersectionOverUnion == report.meanIntersectionOverUnion)
    }
  }

  @Test("an image whose mask or overlay would have too long a name gets neither")
  func longNames() throws {
    try withTemporaryFolder { folder in
      let image = fixtures.appending(path: "images/0.png").path
      let bundle = try ModelBundle(opening: try Self.bundle(in: folder))
      // NAME.mask.png has 255 bytes.
      let long = folder + "/" + String(repeating: "n", count: 246) + ".png"
      try FileManager.default.copyItem(atPath: image, toPath: long)
      var errors: [String?] = []
      try Segmenter(bundle, threads: 1).segment([long, image]) { answer in
        var answer = answer
        try answer.write(to: folder + "/masks")
        errors.append(answer.error)
        #expect(answer.classes.isEmpty == (answer.error != nil))
      }
      #expect(errors.count == 2 && errors[0]?.contains("has 258 bytes") == true && errors[1] == nil)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder + "/masks").sorted()
          == ["0.mask.png", "0.overlay.png"])
    }
  }

  @Test("a new head for the classes of the data, random views, resumed, with a report")
  func newHead() throws {
    try withTemporaryFolder { folder in
      // Half of the classes: 0 and what is above it.
      let data = folder + "/data"
      for name in ["images", "masks"] {
        try FileManager.default.createDirectory(
          atPath: data + "/" + name, withIntermediateDirectories: true)
      }
      for number in 0..<6 {
        try FileManager.default.copyItem(
          at: fixtures.appending(path: "images/\(number).png"),
          to: URL(filePath: data + "/images/\(number).png"))
        let mask = try LabelMap(contentsOf: fixtures.appending(path: "masks/\(number).png").path)
        let halves = try LabelMap(
          width: mask.width, height: mask.height,
          values: mask.values.map { $0 == LabelMap.ignored ? $0 : min($0, 1) })
        try Data(halves.encodedPNG()).write(to: URL(filePath: data + "/masks/\(number).png"))
      }
      var options = FineTuner.Options(data: data)
      options.augmentation = try Augmentation("flip-crop")
      options.unfreeze = .all
      options.normalization = .train
      options.epochs = 4
      options.batchSize = 2
      options.learningRate = 0.1
      let bundle = try Self.bundle(in: folder)
      var whole = try FineTuner(bundle, options)
      let expected = try whole.run(to: folder + "/whole.graft")
      #expect(expected.epochs.last.map { $0.loss < 0.6 } == true)
      let tuned = try ModelBundle(opening: folder + "/whole.graft")
      #expect(try tuned.manifest.outputs[0].type().shape == [.batch, 2, 12, 16])
      let page = try String(
        contentsOfFile: folder + "/whole.graft/report.html", encoding: .utf8)
      #expect(page.contains("intersection over union") && page.contains("data:image/png"))

      options.checkpoint = folder + "/state"
      var first = try FineTuner(bundle, options)
      first.expectStop(after: 2, to: folder + "/resumed.graft")
      options.resumes = true
      var second = try FineTuner(bundle, options)
      let resumed = try second.run(to: folder + "/resumed.graft")
      #expect(resumed.epochs.map(\.loss) == expected.epochs.map(\.loss))
      #expect(resumed.epochs.map(\.validationMeanIoU) == expected.epochs.map(\.validationMeanIoU))
    }
  }

  @Test("what does not fit is refused")
  func refusals() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      func message(_ change: (inout FineTuner.Options) throws -> Void) -> String {
        do {
          var options = Self.options()
          try change(&options)
          var tuner = try FineTuner(bundle, options)
          _ = try tuner.run(to: folder + "/tuned.graft")
          return "it ran"
        } catch { return "\(error)" }
      }
      try FileManager.default.createDirectory(
        atPath: folder + "/empty", withIntermediateDirectories: true)
      #expect(message { $0.data = folder + "/empty" }.contains("there is no folder \"images\""))
      #expect(
        message {
          $0.augmentation = try Augmentation("flip"); $0.mixing.cutmix = 1
        }
        .contains("--cutmix needs one class per item"))
      let images = folder + "/bad"
      try FileManager.default.copyItem(atPath: fixtures.path, toPath: images)
      try Data(Image(width: 3, height: 2, channels: 1, pixels: [0, 1, 2, 3, 1, 0]).encodedPNG())
        .write(to: URL(filePath: images + "/masks/0.png"))
      try Data(
        Image(width: 16, height: 12, channels: 1, pixels: [UInt8](repeating: 9, count: 192))
          .encodedPNG()
      ).write(to: URL(filePath: images + "/masks/1.png"))
      try Data(contentsOf: fixtures.appending(path: "images/2.png"))
        .write(to: URL(filePath: images + "/masks/2.png"))
      var evaluator = try SegmentationEvaluator(ModelBundle(opening: bundle), threads: 1)
      let report = try evaluator.evaluate(images)
      #expect(report.images == 3 && report.skipped == 3)
      let warnings = evaluator.warnings.map(\.message).joined(separator: "\n")
      #expect(warnings.contains("the mask is 3 × 2, its image 16 × 12"))
      #expect(warnings.contains("the mask has the class 9, but the 4 classes are 0 … 3"))
      #expect(warnings.contains("in color without a palette"))
      #expect(throws: GraftError.self) { try Classifier(ModelBundle(opening: bundle)) }
    }
  }
}
