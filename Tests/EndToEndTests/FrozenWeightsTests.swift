// What a run leaves alone: frozen weights come back byte for byte, and what an exporter folded away is no
// obstacle.

import Foundation
import Graft
import GraftData
import GraftIR
import GraftONNX
import GraftTesting
import GraftTraining
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()
private let training = root.appending(path: "Tests/EndToEndTests/Fixtures/training")

/// The bytes of every parameter of an ONNX file by name.
private func parameters(of path: String) throws -> [String: [UInt8]] {
  let graph = try ONNXImporter.importModel(at: path).graph
  return Dictionary(
    uniqueKeysWithValues: graph.parameters.compactMap { id in
      guard let name = graph[id].name, let data = graph[id].parameter?.data else { return nil }
      return (name, data.withUnsafeBytes { Array($0) })
    })
}

@Suite("Frozen weights")
struct FrozenWeightsTests {
  @Test("export gives what was frozen back byte for byte, and only what was trained differs")
  func bytes() throws {
    let folder = try TemporaryFolder()
    let source = root.appending(path: "models/resnet20-cifar10.onnx").path
    let (bundle, tuned) = (folder.path + "/network.graft", folder.path + "/tuned.graft")
    try Compiler().compile(source, to: bundle)
    // 8 pictures of noise of 10 classes: what is learnt from them is of no matter.
    var random = SplitMix(seed: 5)
    let pixels = (0..<(8 * 3 * 32 * 32)).map { _ in Float.random(in: -1...1, using: &random) }
    let data = folder.path + "/data"
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
    try Data(try NPYArray(pixels, shape: [8, 3, 32, 32]).encoded())
      .write(to: URL(filePath: data + "/x.npy"))
    try Data(try NPYArray([0, 1, 2, 3, 4, 5, 6, 7] as [Int64], shape: [8]).encoded())
      .write(to: URL(filePath: data + "/y.npy"))
    var options = FineTuner.Options(data: data)
    options.head = .keep
    options.unfreeze = .scope("layer3.1")
    options.normalization = .train
    options.epochs = 1
    options.batchSize = 8
    options.validationSplit = 0
    var tuner = try FineTuner(bundle, options)
    _ = try tuner.run(to: tuned)
    let exported = folder.path + "/tuned.onnx"
    _ = try Exporter.export(try ModelBundle(opening: tuned), to: exported)
    let (before, after) = (try parameters(of: source), try parameters(of: exported))
    #expect(Set(before.keys) == Set(after.keys))
    var trained = 0
    for (name, bytes) in before {
      let trains = ["layer3.1.", "layer3.2.", "fc."].contains { name.hasPrefix($0) }
      trained += trains ? 1 : 0
      #expect((after[name] != bytes) == trains, "\(name)")
    }
    // Two blocks of two convolutions and two normalizations of four tensors, and the head.
    #expect(trained == 2 * (2 + 2 * 4) + 2)
  }

  @Test("a network whose BatchNorms were folded into its convolutions learns from the same loss")
  func folded() throws {
    struct Expected: Decodable {
      struct Run: Decodable {
        var bn: String
        var losses: [Double]
      }
      var runs: [Run]
    }
    let expected = try JSONDecoder().decode(
      Expected.self, from: Data(contentsOf: training.appending(path: "expected.json")))
    let first = try #require(expected.runs.first { $0.bn == "frozen" }?.losses.first)
    let folder = try TemporaryFolder()
    let (bundle, folded) = (folder.path + "/network.graft", folder.path + "/folded.graft")
    try Compiler().compile(training.appending(path: "network.onnx").path, to: bundle)
    let file = folder.path + "/folded.onnx"
    _ = try Exporter.export(try ModelBundle(opening: bundle), to: file, as: .optimized)
    #expect(try parameters(of: file).keys.allSatisfy { !$0.contains("running_mean") })
    try Compiler().compile(file, to: folded)
    var options = FineTuner.Options(data: training.path)
    options.head = .keep
    options.unfreeze = .all
    options.normalization = .train
    options.epochs = 8
    options.batchSize = 12
    options.validationSplit = 0
    options.optimizer = .adam
    options.learningRate = 0.01
    options.schedule = LearningRateSchedule(.constant)
    var tuner = try FineTuner(folded, options)
    let report = try tuner.run(to: folder.path + "/tuned.graft")
    // PyTorch's loss before the first step, with its BatchNorms in place and frozen.
    let losses = report.epochs.map(\.loss)
    #expect(abs((losses.first ?? 0) - first) <= 1e-4 * first, "\(losses)")
    #expect((losses.last ?? .infinity) < first - 0.01, "\(losses)")
    #expect(
      tuner.warnings.contains { $0.message.hasPrefix("--bn train has no effect") },
      "\(tuner.warnings)")
  }
}
