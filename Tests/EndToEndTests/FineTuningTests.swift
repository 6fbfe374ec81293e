// Fine-tuning from an ONNX file to a tuned bundle: PyTorch's losses and weights, the same bits however it
// runs, and what is refused. tools/make-network-training-fixture made the numbers.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftIR
import GraftTesting
import GraftTraining
import Testing

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/training")

/// The network of the fixtures, compiled once.
private let bundle: Result<(folder: TemporaryFolder, path: String), any Error> = Result {
  let folder = try TemporaryFolder()
  let path = folder.path + "/network.graft"
  try Compiler().compile(fixtures.appending(path: "network.onnx").path, to: path)
  return (folder, path)
}

private struct Expected: Decodable {
  struct Run: Decodable, CustomTestStringConvertible, Sendable {
    var optimizer: FineTuner.OptimizerName
    var bn: String
    var losses: [Double]
    var weights: [String: [Double]]
    var lr: Double
    var momentum: Double?
    var weightDecay: Double
    var temperature: Double?
    var alpha: Double?
    var testDescription: String {
      "\(optimizer), BatchNorm \(bn)" + (alpha == nil ? "" : ", with a teacher")
    }

    enum CodingKeys: String, CodingKey {
      case optimizer, bn, losses, weights, lr, momentum, temperature, alpha
      case weightDecay = "weight_decay"
    }
  }
  var runs: [Run]
  var distillation: Run

  static let all: [Run] = {
    let file = fixtures.appending(path: "expected.json")
    let expected = try? JSONDecoder().decode(Expected.self, from: Data(contentsOf: file))
    return expected.map { $0.runs + [$0.distillation] } ?? []
  }()
}

private func options() -> FineTuner.Options { .wholeBatch(of: fixtures.path) }

@Suite("Fine-tuning")
struct FineTuningTests {
  @Test("the fixtures are there")
  func fixturesAreThere() { #expect(Expected.all.count == 7) }

  @Test("ten steps are PyTorch's", arguments: Expected.all)
  fileprivate func tenSteps(_ expected: Expected.Run) throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    var options = options()
    options.optimizer = expected.optimizer
    options.normalization = try #require(.init(rawValue: expected.bn))
    options.learningRate = expected.lr
    options.momentum = expected.momentum ?? 0
    options.weightDecay = expected.weightDecay
    if let temperature = expected.temperature, let alpha = expected.alpha {
      let teacher = folder.path + "/teacher.graft"
      try Compiler().compile(fixtures.appending(path: "teacher.onnx").path, to: teacher)
      options.teacher = .init(bundle: teacher, temperature: temperature, alpha: alpha)
    }
    var tuner = try FineTuner(bundle.path, options)
    let report = try tuner.run(to: folder.path + "/tuned.graft")
    #expect(report.kept == 10)
    for (found, loss) in zip(report.epochs.map(\.loss), expected.losses) {
      #expect(abs(found - loss) <= 1e-4 * loss, "\(found) for \(loss)")
    }
    let tuned = try trainedWeights(of: folder.path + "/tuned.graft")
    let before = try trainedWeights(of: bundle.path)
    for (name, values) in expected.weights {
      // The gradient of a bias before a normalization by the batch's own statistics is zero but for
      // rounding, which Adam divides by itself.
      if name == "conv2.bias", expected.bn == "train", expected.optimizer != .sgd { continue }
      let found = try #require(tuned[name], "\(name) is missing")
      let old = try #require(before[name])
      let change = zip(values, old).map { abs($0 - Double($1)) }.max() ?? 0
      let worst = zip(found, values).map { abs(Double($0) - $1) }.max() ?? .infinity
      #expect(worst <= 1e-2 * change + 1e-6, "\(name) is off by \(worst), it changed by \(change)")
    }
  }

  private struct Stopped: Error {}

  @Test("threads and a stop in the middle do not change a bit; what is frozen stays")
  func sameBits() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    var options = options()
    options.unfreeze = .scope("depthwise")
    options.optimizer = .adam
    options.batchSize = 5
    options.validationSplit = 0.25
    options.epochs = 4
    var whole = try FineTuner(bundle.path, options)
    let report = try whole.run(to: folder.path + "/whole.graft")
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/whole.graft.checkpoint"))

    options.threads = 1
    options.checkpoint = folder.path + "/state"
    #expect(throws: Stopped.self) {
      var stopped = try FineTuner(bundle.path, options)
      _ = try stopped.run(to: folder.path + "/resumed.graft") { event in
        if case .finished(let epoch) = event, epoch.epoch == 2 { throw Stopped() }
      }
    }
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/resumed.graft"))
    options.resumes = true
    var resumed = try FineTuner(bundle.path, options)
    let second = try resumed.run(to: folder.path + "/resumed.graft")
    #expect(second.epochs.map(\.loss) == report.epochs.map(\.loss))
    #expect(second.kept == report.kept)
    let (a, b) = (
      try trainedWeights(of: folder.path + "/whole.graft"),
      try trainedWeights(of: folder.path + "/resumed.graft")
    )
    #expect(a == b)
    let before = try trainedWeights(of: bundle.path)
    for (name, values) in a {
      let trains = ["depthwise", "grouped", "fc"].contains { name.hasPrefix($0) }
      #expect((values != before[name]) == trains, "\(name)")
    }

    options.weightDecay = 0.5
    let error = #expect(throws: GraftError.self) {
      var other = try FineTuner(bundle.path, options)
      _ = try other.run(to: folder.path + "/other.graft")
    }
    #expect(error?.message == "--weight-decay was 0 in the checkpoint, is 0.5 now")
  }

  @Test("a new head, accumulation, clipping, smoothing and early stopping go together")
  func otherOptions() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    var options = options()
    options.head = .mlp(hidden: 16)
    options.unfreeze = .last(2)
    options.normalization = .train
    options.batchSize = 4
    options.accumulate = 2
    options.clipNorm = 1
    options.labelSmoothing = 0.1
    options.classWeights = .balanced
    options.validationSplit = 0.34
    options.learningRate = 1e-6
    options.epochs = 20
    options.earlyStop = 2
    options.metrics = folder.path + "/metrics.jsonl"
    var tuner = try FineTuner(bundle.path, options)
    let report = try tuner.run(to: folder.path + "/tuned.graft")
    #expect(report.validationItems == 4)
    #expect(report.trainingItems == 8)
    let lines = try String(contentsOfFile: folder.path + "/metrics.jsonl", encoding: .utf8)
      .split(separator: "\n")
    #expect(lines.count == report.epochs.count)
    #expect(report.epochs.count - report.kept <= 2)
    let graph = try ModelBundle(opening: folder.path + "/tuned.graft").loadGraph()
    #expect(graph.parameter(named: "fc.hidden.weight") != nil)
  }

  @Test("the gradient of several micro-batches is that of all of them together")
  func accumulation() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    var options = options()
    options.epochs = 1
    options.learningRate = 0.1
    options.momentum = 0
    var whole = try FineTuner(bundle.path, options)
    _ = try whole.run(to: folder.path + "/whole.graft")
    options.batchSize = 4
    options.accumulate = 3
    var parts = try FineTuner(bundle.path, options)
    _ = try parts.run(to: folder.path + "/parts.graft")
    let (a, b) = (
      try trainedWeights(of: folder.path + "/whole.graft"),
      try trainedWeights(of: folder.path + "/parts.graft")
    )
    for (name, values) in a {
      let other = try #require(b[name])
      let worst = zip(values, other).map { abs($0 - $1) }.max() ?? 0
      #expect(worst <= 1e-6, "\(name) differs by \(worst)")
    }
  }

  @Test("with layer decay a layer's first step is as much smaller as it is far from the head")
  func layerDecay() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    var options = options()
    options.epochs = 1
    options.momentum = 0
    options.learningRate = 0.1
    options.headLearningRate = 0.05
    func changes() throws -> [String: [Float]] {
      let output = folder.path + "/\(options.layerDecay).graft"
      var tuner = try FineTuner(bundle.path, options)
      _ = try tuner.run(to: output)
      let before = try trainedWeights(of: bundle.path)
      return try trainedWeights(of: output).reduce(into: [:]) { changes, entry in
        changes[entry.key] = zip(entry.value, before[entry.key] ?? []).map { $0 - $1 }
      }
    }
    let plain = try changes()
    options.layerDecay = 0.5
    let decayed = try changes()
    let depths = [
      "fc.weight": 0, "fc.bias": 0, "grouped.weight": 1, "depthwise.weight": 2, "depthwise.bias": 2,
      "down.weight": 3, "bn2.weight": 4, "bn2.bias": 4, "conv2.weight": 4, "bn1.weight": 5,
      "conv1.weight": 5,
    ]
    for (name, depth) in depths {
      let (whole, part) = (try #require(plain[name]), try #require(decayed[name]))
      let factor = Float(pow(0.5, Double(depth)))
      let largest = whole.map(abs).max() ?? 0
      #expect(largest > 1e-5, "\(name) did not change")
      // What is compared are differences of rounded weights of a size of about 1.
      let worst = zip(whole, part).map { abs($0 * factor - $1) }.max() ?? .infinity
      #expect(worst <= 2e-7, "\(name) at depth \(depth) is off by \(worst) of \(largest)")
    }
  }

  @Test("a run that diverges keeps its last good state, and goes on from it at a smaller rate")
  func divergence() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    var options = options()
    options.epochs = 3
    options.batchSize = 4
    options.schedule = LearningRateSchedule(.step(size: 1, gamma: 1e8))
    let output = folder.path + "/tuned.graft"
    var losses: [Double] = []
    let error = #expect(throws: GraftError.self) {
      var tuner = try FineTuner(bundle.path, options)
      _ = try tuner.run(to: output) { event in
        if case .finished(let epoch) = event { losses.append(epoch.loss) }
      }
    }
    #expect(error?.message.contains("the loss") == true, "\(String(describing: error))")
    #expect(
      error?.advice?.contains("the state after epoch \(losses.count) is in \(output).checkpoint")
        == true, "\(String(describing: error))")
    #expect(!losses.isEmpty && losses.allSatisfy(\.isFinite))
    #expect(!FileManager.default.fileExists(atPath: output))
    #expect(FileManager.default.fileExists(atPath: output + ".checkpoint/state.safetensors"))

    options.checkpoint = output + ".checkpoint"
    options.resumes = true
    options.learningRate = 1e-20
    var resumed = try FineTuner(bundle.path, options)
    let report = try resumed.run(to: output)
    #expect(report.epochs.prefix(losses.count).map(\.loss) == losses)
    #expect(report.epochs.count == 3)
  }

  @Test("a range test of the learning rate draws a curve and leaves nothing else")
  func learningRateSearch() throws {
    let bundle = try bundle.get()
    try withTemporaryFolder { folder in
      let result = try GraftProgram.run(
        [
          "finetune", bundle.path, "--data", fixtures.path, "--find-lr", "--batch-size", "6",
          "--json",
          "--unfreeze", "all", "-o", folder + "/tuned.graft/", "--val-split", "0",
        ])
      #expect(result.status == 0, "\(result.errors)")
      struct Found: Decodable {
        struct Point: Decodable {
          var lr: Double
          var loss: Double
        }
        var points: [Point]
        var suggestion: Double
        var steepest: Double
        var minimumTenth: Double

        enum CodingKeys: String, CodingKey {
          case points, suggestion, steepest
          case minimumTenth = "minimum_tenth"
        }
      }
      let found = try JSONDecoder().decode(Found.self, from: Data(result.output.utf8))
      #expect((10...100).contains(found.points.count))
      for (step, point) in found.points.enumerated() {
        let expected = 1e-6 * pow(1e7, Double(step) / 99)
        #expect(abs(point.lr - expected) <= 1e-9 * expected)
      }
      // Nothing has been learnt yet at the least rates: the loss is about that of even chances.
      #expect(abs((found.points.first?.loss ?? 0) - log(4)) < 1)
      #expect(found.suggestion == min(found.steepest, found.minimumTenth))
      #expect(found.suggestion >= 1e-7 && found.suggestion <= 1)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder) == ["tuned.graft.find-lr.svg"])
      let picture = try String(
        contentsOfFile: folder + "/tuned.graft.find-lr.svg", encoding: .utf8)
      #expect(picture.components(separatedBy: "<circle").count == found.points.count + 1)
      let text = try GraftProgram.run([
        "finetune", bundle.path, "--data", fixtures.path, "--find-lr", "--unfreeze", "all",
        "--batch-size", "6", "--val-split", "0",
      ])
      #expect(text.output.contains("suggestion: --lr "), "\(text)")
      #expect(text.output.contains("▲"))
    }
  }

  @Test("bad input is told before anything is written")
  func refusals() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    func message(_ change: (inout FineTuner.Options) -> Void) throws -> String {
      var options = options()
      change(&options)
      let error = #expect(throws: GraftError.self) {
        var tuner = try FineTuner(bundle.path, options)
        _ = try tuner.run(to: folder.path + "/tuned.graft")
      }
      #expect(!FileManager.default.fileExists(atPath: folder.path + "/tuned.graft"))
      return error?.message ?? ""
    }
    #expect(
      try message { $0.learningRate = 0 } == "--lr must be greater than 0, found 0")
    #expect(
      try message { $0.unfreeze = .scope("layer4") }
        == "no node or parameter is in the scope \"layer4\"")
    #expect(
      try message { $0.unfreeze = .last(40) }.hasPrefix("last:40 exceeds the network"))
    let pictures = folder.path + "/one/cat"
    try FileManager.default.createDirectory(
      atPath: pictures, withIntermediateDirectories: true)
    let empty = try message { $0.data = folder.path + "/one" }
    #expect(empty == "there is no JPEG or PNG file in a class folder")
    let photo = fixtures.deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appending(
        path: "models/digits/train")
    let digit = try #require(
      FileManager.default.enumerator(atPath: photo.path)?.compactMap { $0 as? String }.sorted()
        .first { $0.hasSuffix(".png") })
    try FileManager.default.copyItem(
      atPath: photo.appending(path: digit).path, toPath: pictures + "/1.png")
    let one = try message {
      $0.data = folder.path + "/one"
      $0.head = .linear
    }
    #expect(one == "there is only one class")
    let kept = try message { $0.data = folder.path + "/one" }
    #expect(kept.hasPrefix("there is 1 class (\"cat\"), but the network has 4 classes"))
    let error = #expect(throws: GraftError.self) {
      var tuner = try FineTuner(bundle.path, options())
      _ = try tuner.run(to: bundle.path)
    }
    #expect(error?.message == "the output -o is the input BUNDLE")
  }
}
