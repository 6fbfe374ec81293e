// Auxiliary outputs that are trained with a weighted loss: PyTorch's losses and weights
// (tools/make-auxiliary-fixture), new heads, and what is refused.

import Foundation
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/auxiliary")

@Suite("Auxiliary outputs")
struct AuxiliaryOutputTests {
  struct Expected: Decodable {
    struct Run: Decodable {
      var unfreeze: String
      var bn: String
      var losses: [Double]
      var validation: [Double]
      var weights: [String: [Double]]
    }
    var runs: [Run]
    var maps: Run

    static func read() throws -> Expected {
      try JSONDecoder().decode(
        Expected.self, from: Data(contentsOf: fixtures.appending(path: "expected.json")))
    }
  }

  private static func bundle(_ name: String = "network", in folder: String) throws -> String {
    let bundle = folder + "/\(name).graft"
    var options = Compiler.Options()
    options.tuning = .off
    try Compiler(options).compile(fixtures.appending(path: name + ".onnx").path, to: bundle)
    return bundle
  }

  private static func options(_ data: String = fixtures.path) -> FineTuner.Options {
    var options = FineTuner.Options.wholeBatch(of: data)
    options.validationData = data
    options.learningRate = 0.1
    options.weightDecay = 0.01
    options.output = "logits"
    options.auxiliary = [.init("early", weight: 0.4), .init("late", weight: 0.25)]
    return options
  }

  /// Trains, and compares losses, those of the output alone, and the output's weights.
  private static func check(
    _ bundle: String, _ options: FineTuner.Options, _ expected: Expected.Run, in folder: String
  ) throws {
    var tuner = try FineTuner(bundle, options)
    let report = try tuner.run(to: folder + "/tuned.graft")
    #expect(report.epochs.count == 10)
    for (epoch, (loss, own)) in zip(report.epochs, zip(expected.losses, expected.validation)) {
      #expect(abs(epoch.loss - loss) < 1e-5, "\(epoch.epoch): \(epoch.loss), PyTorch \(loss)")
      #expect(abs((epoch.validationLoss ?? 0) - own) < 1e-5, "\(epoch.epoch), PyTorch \(own)")
    }
    guard report.kept == 10 else { return }
    let tuned = try trainedWeights(of: folder + "/tuned.graft")
    #expect(Set(tuned.keys).isSuperset(of: expected.weights.keys))
    for (name, values) in expected.weights {
      let worst = zip(tuned[name] ?? [], values).map { abs(Double($0) - $1) }.max()
      #expect((worst ?? 1) < 1e-5, "\(name) is off by \(worst as Any)")
    }
  }

  @Test("losses and weights of ten steps are PyTorch's", arguments: 0..<3)
  func tenSteps(_ number: Int) throws {
    let expected = try Expected.read().runs[number]
    try withTemporaryFolder { folder in
      var options = Self.options()
      options.unfreeze = try .init(expected.unfreeze)
      options.normalization = try #require(.init(rawValue: expected.bn))
      try Self.check(Self.bundle(in: folder), options, expected, in: folder)
      let tuned = try ModelBundle(opening: folder + "/tuned.graft")
      #expect(tuned.manifest.outputs.map(\.name) == ["logits"])
      #expect(try trainedWeights(of: tuned.path).keys.allSatisfy { !$0.contains("early") })
    }
  }

  @Test("so are those of a network with a class for every pixel")
  func positions() throws {
    try withTemporaryFolder { folder in
      var options = Self.options(fixtures.appending(path: "maps").path)
      options.output = "out"
      options.auxiliary = [.init("aux", weight: 0.5)]
      options.unfreeze = .all
      try Self.check(
        Self.bundle("maps", in: folder), options, Expected.read().maps, in: folder)
    }
  }

  @Test("every head is new for other classes; a limit on memory and a stop change no bit")
  func newHeads() throws {
    try withTemporaryFolder { folder in
      let data = folder + "/data"
      try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
      try FileManager.default.copyItem(
        at: fixtures.appending(path: "x.npy"), to: URL(filePath: data + "/x.npy"))
      try Data(NPYArray((0..<12).map { Int64($0 % 3) }, shape: [12]).encoded())
        .write(to: URL(filePath: data + "/y.npy"))
      let bundle = try Self.bundle(in: folder)
      var options = Self.options(data)
      options.head = .linear
      options.unfreeze = .scope("block")
      options.normalization = .train
      options.epochs = 4
      options.headLearningRate = 0.2
      func tuned(_ name: String, in room: MemoryRoom = MemoryRoom()) throws -> [[Float]] {
        var tuner = try FineTuner(bundle, options)
        tuner.room = room
        let report = try tuner.run(to: folder + "/\(name).graft")
        #expect(report.epochs[3].loss < report.epochs[0].loss)
        return try trainedWeights(of: folder + "/\(name).graft").sorted { $0.key < $1.key }
          .map(\.value)
      }
      let whole = try tuned("whole")
      #expect(
        try ModelBundle(opening: folder + "/whole.graft").manifest.outputs[0].type().shape
          == [.batch, 3])
      #expect(try tuned("least", in: .least) == whole)
      options.checkpoint = folder + "/state"
      var first = try FineTuner(bundle, options)
      first.expectStop(after: 2, to: folder + "/again.graft")
      options.resumes = true
      #expect(try tuned("again") == whole)
      options.auxiliary[1].weight = 0.5
      #expect { try tuned("other") } throws: {
        "\($0)".contains(
          "--auxiliary was early=0.4,late=0.25 in the checkpoint, is early=0.4,late=0.5")
      }
      options.checkpoint = nil
      options.resumes = false
      #expect(try tuned("other") != whole)
    }
  }

  @Test("what does not fit is refused, with the output's name")
  func refusals() throws {
    try withTemporaryFolder { folder in
      let bundle = try Self.bundle(in: folder)
      func refuses(_ options: [String], _ says: String) throws {
        try GraftProgram.expectFailure(
          [
            "finetune", bundle, "--data", fixtures.path, "--output", "logits", "--plan",
            "--unfreeze", "all",
          ] + options,
          saying: [says])
      }
      try refuses(["--auxiliary", "none=1"], "unknown output \"none\"")
      try refuses(["--auxiliary", "logits=1"], "\"logits\" is the output that is trained")
      try refuses(
        ["--auxiliary", "late=1", "--head", "/Relu_output_0"], "has no auxiliary outputs beside it")
      for (text, says) in [
        ("late", "found \"late\""), ("late=0", "found \"late=0\""), ("=1", "found \"=1\""),
        ("late=1,late=2", "names the output \"late\" twice"),
      ] {
        let error = #expect(throws: GraftError.self) {
          try FineTuningOption.auxiliary(from: text)
        }
        #expect(error?.message.contains(says) == true, "\(error as Any)")
      }
      let several = try FineTuningOption.auxiliary(from: "a,b=0.5,c=d=2")
      #expect(several == [.init("a,b", weight: 0.5), .init("c=d", weight: 2)])
      #expect(FineTuningOption.text(of: several) == "a,b=0.5,c=d=2")
      for (options, says) in [
        (["--unfreeze", "all", "--loss", "mse"], "--auxiliary cannot be used here"),
        ([], "--auxiliary has no effect: --unfreeze none"),
      ] {
        let usage = try GraftProgram.run(
          ["finetune", bundle, "--data", fixtures.path, "--plan", "--auxiliary", "late=1"]
            + options)
        #expect(usage.status == 64 && usage.errors.contains(says), "\(usage.errors)")
      }
    }
  }
}
