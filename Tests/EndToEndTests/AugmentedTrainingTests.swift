// Fine-tuning on random views: the same bits on any number of threads, after a stop, and whether
// views go through the trunk when they are needed or are kept; and what files that are no pictures
// do to a run.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftTesting
import GraftTraining
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()
private let network = root.appending(path: "Tests/EndToEndTests/Fixtures/training/network.onnx")

/// The network of the training fixtures made to take pictures, and four classes of seven pictures
/// each.
private let setting: Result<(folder: TemporaryFolder, bundle: String, data: String), any Error> =
  Result {
    let folder = try TemporaryFolder()
    let bundle = folder.path + "/network.graft"
    var options = Compiler.Options()
    options.preprocessing = "cifar10"
    try Compiler(options).compile(network.path, to: bundle)
    let data = folder.path + "/photos"
    let files = FileManager.default
    for digit in 0..<4 {
      let source = root.appending(path: "models/digits/train/\(digit)").path
      let target = data + "/\(digit)"
      try files.createDirectory(atPath: target, withIntermediateDirectories: true)
      for name in try files.contentsOfDirectory(atPath: source).sorted().prefix(7) {
        try files.copyItem(atPath: source + "/" + name, toPath: target + "/" + name)
      }
    }
    return (folder, bundle, data)
  }

private func options() throws -> FineTuner.Options {
  var options = FineTuner.Options(data: try setting.get().data)
  options.batchSize = 6
  options.epochs = 3
  options.learningRate = 0.05
  options.threads = 2
  options.unfreeze = .scope("depthwise")
  return options
}

/// Runs, and gives the losses of all epochs and the bytes of the weights.
private func outcome(
  _ options: FineTuner.Options, in folder: String, stoppingAfter last: Int? = nil
) throws -> (epochs: [[Double]], weights: Data) {
  struct Stopped: Error {}
  let output = folder + "/\(UUID().uuidString).graft"
  var tuner = try FineTuner(setting.get().bundle, options)
  let report = try tuner.run(to: output) { event in
    if case .finished(let epoch) = event, epoch.epoch == last { throw Stopped() }
  }
  return (
    report.epochs.map { [$0.loss, $0.accuracy ?? -1, $0.validationLoss ?? -1] },
    try Data(contentsOf: URL(filePath: output + "/weights.safetensors"))
  )
}

@Suite("Fine-tuning on random views")
struct AugmentedTrainingTests {
  @Test("threads, a stop in the middle and keeping views do not change a bit")
  func sameBits() throws {
    let folder = try TemporaryFolder()
    var options = try options()
    options.augmentation = try Augmentation("resized-crop-flip-jitter-erase")
    options.teacher = .init(bundle: try setting.get().bundle, temperature: 2, alpha: 0.3)
    let whole = try outcome(options, in: folder.path)

    options.threads = 1
    options.checkpoint = folder.path + "/state"
    #expect(throws: (any Error).self) {
      _ = try outcome(options, in: folder.path, stoppingAfter: 1)
    }
    options.resumes = true
    let resumed = try outcome(options, in: folder.path)
    #expect(resumed.epochs == whole.epochs)
    #expect(resumed.weights == whole.weights)

    (options.resumes, options.checkpoint) = (false, nil)
    // The third epoch sees the first view again.
    options.cacheViews = 2
    let kept = try outcome(options, in: folder.path)
    #expect(kept.epochs.prefix(2) == whole.epochs.prefix(2))
    #expect(kept.epochs[2] != whole.epochs[2])
  }

  @Test("mixed batches are the same on any number of threads")
  func mixes() throws {
    let folder = try TemporaryFolder()
    var options = try options()
    options.mixing = FineTuner.BatchMixing(mixup: 0.4, cutmix: 1)
    let two = try outcome(options, in: folder.path)
    options.threads = 1
    let one = try outcome(options, in: folder.path)
    #expect(one.epochs == two.epochs)
    #expect(one.weights == two.weights)
  }

  @Test("validation data are never augmented")
  func validation() throws {
    let folder = try TemporaryFolder()
    var options = try options()
    // Too small a rate to change a weight, and too small a change of the momentum.
    options.learningRate = 1e-30
    options.epochs = 1
    let plain = try outcome(options, in: folder.path)
    options.augmentation = try Augmentation("crop-flip-jitter")
    let augmented = try outcome(options, in: folder.path)
    #expect(augmented.epochs[0][2] == plain.epochs[0][2])
    #expect(augmented.epochs[0][0] != plain.epochs[0][0])
  }

  @Test("what does not go together is refused by name")
  func refusals() throws {
    func message(_ change: (inout FineTuner.Options) throws -> Void) throws -> String {
      try withTemporaryFolder { folder in
        var options = try options()
        try change(&options)
        let error = #expect(throws: GraftError.self) { _ = try outcome(options, in: folder) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        return error?.message ?? ""
      }
    }
    #expect(
      try message {
        $0.mixing.mixup = 1
        $0.cacheViews = 2
      }.hasPrefix(
        "--mixup cannot be used here: it mixes images before the frozen layers"))
    #expect(
      try message { $0.cacheViews = 2 }
        == "--cache-views cannot be used here: it caches random views, and --augment makes none")
    #expect(
      try message { $0.mixing.cutmix = 0 }
        == "--cutmix must be greater than 0 and at most 1000, found 0")
    #expect(
      try message {
        $0.augmentation = try Augmentation("flip")
        $0.data = network.deletingLastPathComponent().path
      } == "--augment transforms images, but the data are tensors")
  }

  @Test("files that are no pictures are counted by kind and left out")
  func strayFiles() throws {
    try withTemporaryFolder { folder in
      let files = FileManager.default
      let data = folder + "/photos"
      try files.copyItem(atPath: try setting.get().data, toPath: data)
      try Data("GIF89a".utf8).write(to: URL(filePath: data + "/0/imageNotFound.gif"))
      try Data("x".utf8).write(to: URL(filePath: data + "/1/photo"))
      try Data([0, 0, 0, 1]).write(to: URL(filePath: data + "/.DS_Store"))
      let images = root.appending(path: "Tests/GraftDataTests/Fixtures/images")
      let whole = try Data(contentsOf: images.appending(path: "jpeg-420.jpg"))
      for name in ["2/cut.jpg", "3/cut.jpg"] {
        try whole.prefix(whole.count / 2).write(to: URL(filePath: data + "/" + name))
      }
      try Data("no picture".utf8).write(to: URL(filePath: data + "/3/text.png"))
      let output = folder + "/tuned.graft"
      for extra in [[], ["--augment", "flip"]] {
        let result = try GraftProgram.run(
          [
            "finetune", try setting.get().bundle, "--data", data, "-o", output, "--epochs", "1",
            "--batch-size", "4", "--json",
          ] + extra)
        #expect(result.status == 0, "\(result.errors)")
        let warnings = result.errors.split(separator: "\n").filter { $0.hasPrefix("warning: ") }
        #expect(warnings.count == 3, "\(warnings)")
        for part in [
          "3 entries are not JPEG or PNG files of a class and were skipped: 1 .ds_store, 1 .gif, "
            + "1 without extension",
          "2 items are skipped, the image is truncated: 2/cut.jpg, 3/cut.jpg",
          "1 item is skipped, not an image: 3/text.png",
        ] {
          #expect(warnings.contains { $0.hasSuffix(part) }, "\(part) in \(warnings)")
        }
        #expect(result.output.contains("\"training_items\" : 24"), "\(result.output)")
        try files.removeItem(atPath: output)
      }
    }
  }
}
