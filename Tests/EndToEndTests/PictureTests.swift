// Networks from images to images: predicted images, folders of pairs, training and evaluation against Pillow,
// onnxruntime, scikit-image and PyTorch (tools/make-picture-fixture).

import Foundation
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/pictures")

@Suite("Networks from images to images")
struct PictureTests {
  /// What tools/make-picture-fixture writes.
  struct Expected: Decodable {
    struct Errors: Decodable {
      var mse: Double
      var mae: Double
      var psnr: Double
      var ssim: Double
    }

    var errors: Errors
    var losses: [String: [Double]]

    static func read() throws -> Expected {
      try JSONDecoder().decode(
        Expected.self, from: Data(contentsOf: fixtures.appending(path: "expected.json")))
    }
  }

  private static func bundle(
    in folder: String, preprocessing: String = fixtures.appending(path: "preprocess.json").path
  ) throws -> String {
    let bundle = folder + "/network.graft"
    var options = Compiler.Options()
    options.tuning = .off
    options.preprocessing = preprocessing
    try Compiler(options).compile(fixtures.appending(path: "network.onnx").path, to: bundle)
    return bundle
  }

  private static func options(_ data: String = fixtures.path) -> FineTuner.Options {
    var options = FineTuner.Options(data: data)
    options.validationData = data
    options.unfreeze = .all
    options.epochs = 6
    options.learningRate = 0.1
    options.momentum = 0.9
    options.schedule = LearningRateSchedule(.constant)
    return options
  }

  /// A copy of the pairs of the fixture, without its arrays.
  private static func pairs(in folder: String) throws -> String {
    let data = folder + "/pairs"
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
    for name in ["inputs", "targets"] {
      try FileManager.default.copyItem(
        atPath: fixtures.appending(path: name).path, toPath: data + "/" + name)
    }
    return data
  }

  private static let inputs = (0..<5).map { fixtures.appending(path: "inputs/\($0).png").path }

  private static func array(_ name: String, in folder: String = fixtures.path) throws -> NPYArray {
    try NPYArray(contentsOf: folder + "/" + name)
  }

  /// The largest difference of two arrays, which must have the same shape.
  private static func difference(_ found: NPYArray, _ expected: NPYArray) throws -> Float {
    try #require(found.shape == expected.shape && found.element == expected.element)
    return zip(found.floats(), expected.floats()).map { abs($0 - $1) }.max() ?? .infinity
  }

  @Test("predicted images are the rounded outputs of onnxruntime")
  func predictions() throws {
    let output = try Self.array("output.npy")
    let values = output.floats()
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      let result = try GraftProgram.run(
        ["predict", bundle, "--json", "--output-dir", folder + "/out"] + Self.inputs)
      #expect(result.status == 0, "\(result.errors)")
      struct List: Decodable {
        struct Answer: Decodable {
          var file: String
          var width: Int
          var height: Int
          var output: String
        }
        var predictions: [Answer]
      }
      let answers = try JSONDecoder().decode(List.self, from: Data(result.output.utf8)).predictions
      #expect(answers.map(\.file) == Self.inputs)
      #expect(answers.map(\.output) == (0..<5).map { "\($0).output.png" })
      for (number, answer) in answers.enumerated() {
        let image = try Image(contentsOf: folder + "/out/" + answer.output)
        #expect(image.size == PixelSize(height: 24, width: 32) && image.channels == 3)
        #expect((answer.height, answer.width) == (24, 32))
        var worst = 0.0
        for (place, pixel) in image.pixels.enumerated() {
          // The output's channels are blue, green, red.
          let (position, channel) = (place / 3, 2 - place % 3)
          let value = Double(values[(number * 3 + channel) * 24 * 32 + position])
          let exact = min(max((value * 0.5 + 0.5) * 255, 0), 255)
          worst = max(worst, abs(Double(pixel) - exact))
        }
        // A value next to the middle of two numbers may be rounded either way.
        #expect(worst <= 0.501 && worst > 0.4, "\(number): \(worst)")
      }
    }
  }

  @Test("preprocess writes Pillow's inputs and targets; evaluate measures scikit-image's errors")
  func data() throws {
    let expected = try Expected.read().errors
    try withTemporaryFolder { folder in
      let bundle = try ModelBundle(opening: try Self.bundle(in: folder))
      #expect(bundle.givesPictures() && bundle.givesValues() && !bundle.hasPositions)
      let pairs = try Self.pairs(in: folder)
      var writer = try DataWriter(bundle)
      #expect(try writer.write(pairs, to: folder + "/arrays", threads: 2) == 5)
      #expect(writer.data == "5 inputs with targets" && writer.warnings.isEmpty)
      for name in ["x.npy", "y.npy"] {
        let found = try Self.array(name, in: folder + "/arrays")
        #expect(try Self.difference(found, Self.array(name)) <= 1e-6, "\(name)")
      }
      for data in [pairs, folder + "/arrays"] {
        var evaluator = try ValueEvaluator(bundle, threads: 1, batchSize: 2)
        let report = try evaluator.evaluate(data)
        #expect(report.items == 5 && report.skipped == 0)
        #expect(abs(report.meanSquaredError - expected.mse) < 1e-6)
        #expect(abs(report.meanAbsoluteError - expected.mae) < 1e-6)
        #expect(abs((report.peakSignalToNoise ?? 0) - expected.psnr) < 1e-4)
        #expect(abs((report.structuralSimilarity ?? 0) - expected.ssim) < 1e-4)
      }
    }
  }

  @Test(
    "losses are PyTorch's, and from folders the bits of those from arrays",
    arguments: ["mse", "mae"])
  func training(_ loss: String) throws {
    let expected = try #require(try Expected.read().losses[loss])
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      var writer = try DataWriter(ModelBundle(opening: bundle))
      let pairs = try Self.pairs(in: folder)
      _ = try writer.write(pairs, to: folder + "/arrays", threads: 1)
      let reports = try [pairs, folder + "/arrays"].map { data in
        var options = Self.options(data)
        if loss != "mse" { options.loss = .init(rawValue: loss) }
        var tuner = try FineTuner(bundle, options)
        return try tuner.run(to: data + ".graft")
      }
      for (epoch, loss) in zip(reports[0].epochs, expected) {
        #expect(abs(epoch.loss - loss) < 1e-5, "\(epoch.epoch): \(epoch.loss), PyTorch \(loss)")
      }
      #expect(reports[0].epochs.map(\.loss) == reports[1].epochs.map(\.loss))
      #expect(reports[0].epochs.map(\.validationLoss) == reports[1].epochs.map(\.validationLoss))
      let weights = try ["pairs", "arrays"].map { name in
        try Data(contentsOf: URL(filePath: folder + "/\(name).graft/weights.safetensors"))
      }
      #expect(weights[0] == weights[1])
      let tuned = try ModelBundle(opening: folder + "/pairs.graft")
      #expect(tuned.givesPictures())
      #expect(tuned.manifest.fineTuning?.head == "keep" && tuned.manifest.fineTuning?.loss == loss)
      let page = try String(
        contentsOfFile: folder + "/pairs.graft/report.html", encoding: .utf8)
      #expect(page.contains("Items with the largest error"))
      // Three for each of five items.
      #expect(page.components(separatedBy: "src=\"data:image/png").count == 16)
    }
  }

  @Test("random views train, with targets that move along, and go on from a checkpoint")
  func views() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      var options = Self.options(try Self.pairs(in: folder))
      options.validationData = nil
      options.batchSize = 2
      options.epochs = 3
      var losses: [[Double]] = []
      for steps in ["flip", "crop-flip-jitter-erase", "resized-crop"] {
        options.augmentation = try Augmentation(steps)
        var tuner = try FineTuner(bundle, options)
        losses.append(try tuner.run(to: folder + "/\(steps).graft").epochs.map(\.loss))
      }
      #expect(Set(losses.map(\.[0])).count == 3 && losses.allSatisfy { $0[2] < $0[0] })
      options.checkpoint = folder + "/state"
      var first = try FineTuner(bundle, options)
      first.expectStop(after: 1, to: folder + "/again.graft")
      options.resumes = true
      var second = try FineTuner(bundle, options)
      #expect(try second.run(to: folder + "/again.graft").epochs.map(\.loss) == losses[2])
    }
  }

  @Test("a network that is trained for classes gives no images any more")
  func classes() throws {
    try withTemporaryFolder { folder in
      let data = folder + "/data"
      for (index, name) in ["a", "b"].enumerated() {
        try FileManager.default.createDirectory(
          atPath: data + "/" + name, withIntermediateDirectories: true)
        for number in [2 * index, 2 * index + 1] {
          try FileManager.default.copyItem(
            atPath: Self.inputs[number], toPath: data + "/\(name)/\(number).png")
        }
      }
      var options = FineTuner.Options(data: data)
      options.loss = .crossEntropy
      options.head = .on("/Relu_output_0")
      options.epochs = 1
      var tuner = try FineTuner(try Self.bundle(in: folder), options)
      _ = try tuner.run(to: folder + "/tuned.graft")
      let tuned = try ModelBundle(opening: folder + "/tuned.graft")
      #expect(!tuned.givesPictures() && tuned.manifest.preprocessing != nil)
      #expect(try Classifier(tuned, threads: 1).classify([Self.inputs[0]])[0].classes.count == 2)
    }
  }

  @Test("a training step for classes may have the preprocessing of the images that it replaces")
  func trainingStepForClasses() throws {
    try withTemporaryFolder { folder in
      var options = Compiler.Options()
      options.tuning = .off
      options.training = TrainableOptions(unfreeze: .none)
      options.training?.head = .on("/Relu_output_0")
      options.training?.classes = 3
      let images = try Self.bundle(in: folder)
      try Compiler(options).compile(images, to: folder + "/again.graft")
      options.preprocessing = fixtures.appending(path: "preprocess.json").path
      try Compiler(options).compile(
        fixtures.appending(path: "network.onnx").path, to: folder + "/classes.graft")
      let bundles = try ["again", "classes"].map {
        try ModelBundle(opening: folder + "/\($0).graft")
      }
      #expect(bundles.allSatisfy { !$0.givesPictures() && $0.manifest.training?.classes == 3 })
      #expect(bundles[0].manifest.preprocessing == bundles[1].manifest.preprocessing)
      #expect(bundles[1].manifest.preprocessing != nil)
    }
  }

  @Test("an image whose output file would have too long a name fails alone")
  func longNames() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      let (stem, other) = (String(repeating: "n", count: 245), folder + "/other.png")
      let long = folder + "/" + stem + ".png"
      for path in [long, other] {
        try FileManager.default.copyItem(atPath: Self.inputs[0], toPath: path)
      }
      let result = try GraftProgram.run(
        ["predict", bundle, long, other, "--output-dir", folder + "/out"])
      #expect(result.status == 1 && result.output.contains("the longest possible is 255"))
      #expect(result.errors.contains("1 of 2 images could not be computed"))
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder + "/out") == ["other.output.png"]
      )
    }
  }

  @Test("pairs that cannot be used are skipped, with the file and the reason")
  func broken() throws {
    try withTemporaryFolder { folder in
      let bundle = try ModelBundle(opening: try Self.bundle(in: folder))
      let data = try Self.pairs(in: folder)
      func write(_ bytes: some Sequence<UInt8>, _ name: String) throws {
        try Data(bytes).write(to: URL(filePath: data + "/" + name))
      }
      let png = try Data(contentsOf: URL(filePath: data + "/targets/0.png"))
      try write(png.prefix(png.count / 2), "targets/0.png")
      try write("no image".utf8, "inputs/1.png")
      try write(
        Image(width: 30, height: 10, channels: 1, pixels: [UInt8](repeating: 9, count: 300))
          .encodedPNG(), "targets/2.png")
      try write([], "targets/3.png")
      try write(png, "targets/alone.png")
      try write(png, "inputs/lonely.jpg")
      try write("?".utf8, "inputs/notes.txt")
      var evaluator = try ValueEvaluator(bundle, threads: 1)
      let report = try evaluator.evaluate(data)
      #expect(report.items == 1 && report.skipped == 4)
      let warnings = evaluator.warnings.map(\.message).joined(separator: "\n")
      for part in [
        "1 entry is not a JPEG or PNG file and was skipped: 1 .txt",
        "1 input has no target and is skipped: lonely.jpg",
        "1 target has no input and is skipped: alone.png",
        "the target is 30 × 10, its image 40 × 30",
        "the image is truncated: targets/0.png",
        "2 items are skipped, not an image: inputs/1.png, targets/3.png",
      ] {
        #expect(warnings.contains(part), "\(part) is not in \(warnings)")
      }
      for number in 0..<5 { try write([], "targets/\(number).png") }
      #expect {
        var evaluator = try ValueEvaluator(bundle, threads: 1)
        _ = try evaluator.evaluate(data)
      } throws: {
        "\($0)".contains("none of the 5 items could be read")
          && "\($0)".contains("targets/0.png: not an image: the file is empty")
      }
    }
  }

  @Test("what does not fit is refused, with what would mend it")
  func refusals() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      let empty = folder + "/empty"
      try FileManager.default.createDirectory(
        atPath: empty + "/inputs", withIntermediateDirectories: true)
      try GraftProgram.expectFailure(
        ["evaluate", bundle, "--data", empty],
        saying: ["there is no folder \"targets\"", "inputs/NAME.jpg with targets/NAME.png"])
      try FileManager.default.createDirectory(
        atPath: empty + "/targets", withIntermediateDirectories: true)
      try GraftProgram.expectFailure(
        ["finetune", bundle, "--data", empty, "-o", folder + "/tuned.graft"],
        saying: ["empty/inputs: there are no JPEG or PNG files"])
      try GraftProgram.expectFailure(
        ["predict", bundle, Self.inputs[0]],
        saying: ["the network's output is an image", "Pass --output-dir DIR"])
      try GraftProgram.expectFailure(
        ["predict", bundle, Self.inputs[0], "--output-dir", folder, "--csv", folder + "/a.csv"],
        saying: ["--csv is for classes"])
      let twice = Self.inputs[0].replacing("inputs", with: "targets")
      try GraftProgram.expectFailure(
        ["predict", bundle, Self.inputs[0], twice, "--output-dir", folder + "/out"],
        saying: ["would have the same name, \"0.output.png\""])
      try GraftProgram.expectFailure(
        ["finetune", bundle, "--data", fixtures.path, "-o", folder + "/t.graft", "--mixup", "1"],
        saying: ["--mixup cannot be used here: it mixes classes"])
      #expect(throws: GraftError.self) { try Classifier(ModelBundle(opening: bundle)) }
      let pairs = try Self.pairs(in: folder)
      try GraftProgram.expectFailure(
        [
          "finetune", bundle, "--data", pairs, "-o", folder + "/t.graft", "--loss", "cross-entropy",
        ],
        saying: [
          "--loss cross-entropy needs classes, but the bundle's output is an image",
          "Leave out --loss",
        ])
      let warnings = try ImageFolder(pairs).warnings.map { "\($0)" }
      #expect(warnings.count == 1 && warnings[0].contains(pairs), "\(warnings)")
      #expect(warnings[0].contains("the folders inputs/ and targets/ are taken as two classes"))
      #expect(warnings[0].contains("describe the output by output in the preprocessing"))

      // A network whose preprocessing tells nothing about its output.
      var text = try String(
        contentsOf: fixtures.appending(path: "preprocess.json"), encoding: .utf8)
      let place = try #require(text.range(of: ", \"output\""))
      text = text[..<place.lowerBound] + "}"
      let plain = folder + "/plain.json"
      try Data(text.utf8).write(to: URL(filePath: plain))
      let silent = folder + "/silent"
      try FileManager.default.createDirectory(atPath: silent, withIntermediateDirectories: true)
      try GraftProgram.expectFailure(
        [
          "finetune", try Self.bundle(in: silent, preprocessing: plain), "--data",
          pairs, "-o", folder + "/t.graft", "--loss", "mse", "--head", "keep",
        ],
        saying: [
          "there are no x.npy and y.npy, but the targets are values", "output in the preprocessing",
        ]
      )
      try GraftProgram.expectFailure(
        ["evaluate", silent + "/network.graft", "--data", folder + "/pairs"],
        saying: [
          "there is no folder \"images\"", "If its output is an image, describe it by output",
        ])
      try Data(
        (text.dropLast() + ", \"output\": {\"color\": \"L\", \"mean\": [0], \"std\": [1]}}").utf8
      )
      .write(to: URL(filePath: plain))
      #expect { _ = try Self.bundle(in: silent, preprocessing: plain) } throws: {
        "\($0)".contains("an image with 1 channel (L), but the network's output is [3, 24, 32]")
      }
    }
  }
}
