// A training library made of Fixtures/softmax_regression.c and the C runtime, the numbers that PyTorch
// gives for it (tools/make-training-fixture), and its calls.

import CGraftABI
import Foundation
import GraftRuntime
import GraftTesting
import Testing

/// What tools/make-training-fixture wrote.
struct TrainingNumbers: Decodable {
  struct Call: Decodable {
    /// The first image of the batch, and the one past the last.
    var begin, end: Int
    var rate, biasRate, clipNorm: Float
    var continues, goesOn: Bool
    /// `losses` has one for each image; the others are as they are after the call, `logits` as before it.
    var losses, logits, weight, bias, mean: [Double]

    var settings: LoadedTrainer.StepSettings {
      LoadedTrainer.StepSettings(
        hyperparameters: [
          .init(learningRate: rate, momentum: 0.9, weightDecay: 0.01),
          .init(learningRate: biasRate),
        ],
        clipNorm: clipNorm > 0 ? clipNorm : nil, continuesAccumulation: continues,
        awaitsMicroBatches: goesOn)
    }
  }
  struct Order: Decodable {
    var seed: String
    var epoch, count: Int
    var order: [Int]
  }
  struct LongOrder: Decodable {
    var seed: String
    var epoch, count: Int
    var first, last: [Int]
    /// The sum of position times entry, modulo 2^64.
    var sum: String
  }

  var x, targets, scale, weight, mean: [Float]
  var calls: [Call]
  var orders: [Order]
  var longOrder: LongOrder

  static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "Fixtures")

  static func load() throws -> TrainingNumbers {
    try JSONDecoder().decode(
      TrainingNumbers.self,
      from: Data(contentsOf: folder.appending(path: "softmax_regression.json")))
  }

  /// The inputs of a call: values at the cut and targets.
  func inputs(_ call: Call) -> [[Float]] {
    [
      Array(x[(call.begin * 3)..<(call.end * 3)]),
      Array(targets[(call.begin * 2)..<(call.end * 2)]),
    ]
  }

  func step(_ trainer: LoadedTrainer, _ call: Call) throws -> (loss: [Float], logits: [Float]) {
    try trainer.step(
      batch: call.end - call.begin, inputs: inputs(call), settings: call.settings)
  }
}

/// A folder that holds libtrain.so with its train.bin, and libmodel.so with its packed.bin.
struct TrainingFixture {
  enum State: Int { case weight, bias, momentum, first, second, weightSum, biasSum, mean, probe }

  let folder: String
  let numbers: TrainingNumbers

  /// Compiles the libraries into `folder`.
  init(in folder: String, flags: [String] = []) throws {
    self.folder = folder
    numbers = try TrainingNumbers.load()
    try Self.compile(
      "softmax_regression.c", CGraftABI_trainingFileAt, into: folder, library: "libtrain.so",
      flags: flags)
    try Self.packed(7, 7, 7, payload: [numbers.scale, numbers.weight, numbers.mean])
      .write(to: URL(filePath: folder + "/train.bin"))
  }

  /// Adds the model that comes before the training.
  func addModel() throws {
    try Self.compile(
      "scaling_model.c", CGraftABI_fileAt, into: folder, library: "libmodel.so", flags: [])
    try Self.packed(5, 0, 0, payload: []).write(to: URL(filePath: folder + "/packed.bin"))
  }

  func trainer(
    seed: UInt64 = 3, threads: Int = 1, largestBatch: Int = 10
  ) throws -> LoadedTrainer {
    try LoadedTrainer(
      library: TrainingLibrary(path: folder + "/libtrain.so"), bundle: folder, seed: seed,
      largestBatch: largestBatch, threads: threads)
  }

  /// The bytes of all state.
  static func bytes(of trainer: LoadedTrainer) throws -> [[UInt32]] {
    try trainer.description.states.indices.map { try trainer.state($0).map(\.bitPattern) }
  }

  /// A packed file whose header names the build that the C fixtures name.
  private static func packed(_ id: UInt8..., payload: [[Float]]) throws -> Data {
    var data = Data("GRAFTPK\n".utf8) + [1, 0, 0, 0, 0, 0, 0, 0] + id
    data += Data(count: 64 - data.count)
    for values in payload {
      data += values.withUnsafeBytes { Data($0) }
      data += Data(count: (64 - data.count % 64) % 64)
    }
    return data
  }

  /// Compiles a C file of Fixtures with the files of the runtime that go with it.
  static func compile(
    _ source: String, _ fileAt: (Int) -> CGraftABI_file, into folder: String, library: String,
    flags: [String]
  ) throws {
    let build = folder + "/" + source + ".build"
    try FileManager.default.createDirectory(atPath: build, withIntermediateDirectories: true)
    var sources = [TrainingNumbers.folder.appending(path: source).path]
    var index = 0
    while case let file = fileAt(index), let name = file.name {
      let path = build + "/" + String(cString: name)
      try Data(bytes: try #require(file.text), count: file.length).write(to: URL(filePath: path))
      if file.isSource != 0 { sources.append(path) }
      index += 1
    }
    let symbol = library == "libtrain.so" ? "graft_training" : "graft_model"
    try "{ global: \(symbol); local: *; };".write(
      toFile: build + "/exports.map", atomically: true, encoding: .utf8)
    try clang(
      ["-fPIC", "-fvisibility=hidden", "-shared", "-I", build] + flags + sources
        + ["-lm", "-Wl,--version-script=\(build)/exports.map", "-o", folder + "/" + library])
  }

  static func clang(_ arguments: [String]) throws {
    let result = try GraftProgram.run(
      "/usr/bin/env",
      ["clang", "-std=c11", "-O0", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"] + arguments)
    try #require(result.status == 0, "\(result.errors)")
  }
}
