// Networks whose inputs are int64 ids, uint8 pixels or float16 numbers, and attention whose batch is on an
// inner axis, through the tools: the command line, C, Session, export, fine-tuning. Expected are
// onnxruntime's outputs (tools/make-fixtures) and PyTorch's training steps
// (tools/make-typed-training-fixture).

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftIR
import GraftTesting
import GraftTraining
import Testing

private let typed = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/typed").path
private let examples = URL(filePath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent().appending(path: "docs/examples").path

private func graft(_ arguments: [String]) throws -> String {
  let run = try GraftProgram.run(arguments)
  try #require(run.status == 0, "graft \(arguments.joined(separator: " ")): \(run.errors)")
  return run.output
}

private func compile(_ model: String, to bundle: String, _ more: [String] = []) throws {
  _ = try graft(["compile", model, "-o", bundle, "--tune", "off"] + more)
}

@Suite("Networks with inputs of other types than float32")
struct TypedNetworkTests {
  private static let names = [
    "uint8_pictures", "float16_throughout", "embedding", "masked_embedding", "moved_types",
  ]

  /// Runs a bundle by `graft run` on a fixture's inputs.
  private func run(
    _ bundle: String, _ fixture: ModelFixture, in folder: String, _ more: [String] = []
  ) throws -> [String: Tensor] {
    let inputs = fixture.inputs.flatMap {
      ["--input", "\($0.name)=\(ModelFixture.folder)/\($0.file)"]
    }
    let output = folder + "/out\(more.joined())"
    _ = try graft(["run", bundle, "--output-dir", output] + inputs + more)
    return try TensorFiles.read(
      Dictionary(
        fixture.outputs.map { ($0.name, "\(output)/\(TensorFileName.npy($0.name))") },
        uniquingKeysWith: { first, _ in first }))
  }

  @Test("by the command line, and exported", arguments: names)
  func commandLine(_ name: String) throws {
    try withTemporaryFolder { folder in
      let fixture = try ModelFixture.named(name)
      let (bundle, exported) = (folder + "/net.graft", folder + "/exported.onnx")
      try compile(fixture.modelPath, to: bundle)
      _ = try graft(["verify", bundle])
      _ = try graft(["bench", bundle, "--seconds", "0.02", "--threads", "1"])
      try fixture.expectOutputs(try run(bundle, fixture, in: folder), "graft run")
      try fixture.expectOutputs(
        try run(bundle, fixture, in: folder, ["--reference"]), "graft run --reference")
      for fused in [[], ["--fused"]] {
        let again = folder + "/again\(fused.count).graft"
        _ = try graft(["export", bundle, "-o", exported] + fused)
        try compile(exported, to: again)
        try fixture.expectOutputs(
          try run(again, fixture, in: folder + "/again\(fused.count)"), "exported \(fused)")
        try FileManager.default.removeItem(atPath: exported)
      }
    }
  }

  @Test("from C", arguments: names)
  func fromC(_ name: String) throws {
    try withTemporaryFolder { folder in
      let fixture = try ModelFixture.named(name)
      let (path, inputs) = (folder + "/net.graft", try fixture.loadInputs())
      try compile(fixture.modelPath, to: path)
      let compiled = try GraftProgram.run(
        "/usr/bin/env",
        [
          "clang", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", path,
          examples + "/run_bundle.c", "-ldl", "-o", folder + "/run_bundle",
        ])
      try #require(compiled.status == 0, "\(compiled.errors)")
      let manifest = try ModelBundle(opening: path).manifest
      let fed = try manifest.inputs.flatMap { try #require(inputs[$0.name]).bytes }
      try Data(fed).write(to: URL(filePath: folder + "/in"))
      let batch = try #require(inputs.values.first).shape[0]
      let result = try GraftProgram.run(
        "/bin/sh", ["-c", "cd '\(folder)' && ./run_bundle net.graft \(batch) 2 <in >out"])
      try #require(result.status == 0, "\(result.errors)")
      let expected = try Session(ModelBundle(opening: path), threads: 1).run(inputs)
      let bytes = try manifest.outputs.flatMap { try #require(expected[$0.name]).bytes }
      #expect(try Data(contentsOf: URL(filePath: folder + "/out")) == Data(bytes))
    }
  }

  /// Items of a tensor along an axis, again and again.
  private func items(_ count: Int, of tensor: Tensor, along axis: Int) throws -> Tensor {
    let (extent, inner) = (tensor.shape[axis], tensor.shape[(axis + 1)...].reduce(1, *))
    let elements = tensor.elements
    var picked: [Float] = []
    for outer in 0..<tensor.shape[..<axis].reduce(1, *) {
      for item in 0..<count {
        let start = (outer * extent + item % extent) * inner
        picked += elements[start..<(start + inner)]
      }
    }
    var shape = tensor.shape
    shape[axis] = count
    return try Tensor(shape: shape, elements: picked)
  }

  @Test(
    "attention with the batch on an inner axis",
    arguments: [
      ("attention_script", 0), ("attention_dynamo", 0), ("attention_inner_batch", 1),
      ("attention_inner_batch_dynamo", 1),
    ])
  func attention(_ name: String, _ axis: Int) throws {
    try withTemporaryFolder { folder in
      let fixture = try ModelFixture.named(name)
      var options = Compiler.Options()
      options.tuning = .off
      try Compiler(options).compile(fixture.modelPath, to: folder + "/net.graft")
      let input = try #require(fixture.loadInputs().first)
      let output = try #require(fixture.loadOutputs().first)
      for threads in [1, 2] {
        let session = try Session(ModelBundle(opening: folder + "/net.graft"), threads: threads)
        for batch in [1, 2, 3, 7] {
          let found = try #require(
            try session.run([
              input.key: items(batch, of: input.value, along: axis)
            ])[output.key])
          let expected = try items(batch, of: output.value, along: axis)
          #expect(found.shape == expected.shape)
          let largest = expected.elements.map(abs).max() ?? 1
          let worst = zip(found.elements, expected.elements).map { abs($0 - $1) }.max() ?? .nan
          #expect(worst <= 1e-5 * largest, "batch \(batch), \(threads) threads: \(worst)")
        }
      }
    }
  }
}

/// A run of tools/make-typed-training-fixture.
private struct ExpectedRun: Decodable, CustomTestStringConvertible, Sendable {
  var name: String
  var losses: [Double]
  var weights: [String: [Double]]
  var lr: Double
  var momentum: Double
  var weightDecay: Double
  var testDescription: String { name }
  var folder: String { "\(typed)/\(name)" }

  enum CodingKeys: String, CodingKey {
    case name, losses, weights, lr, momentum
    case weightDecay = "weight_decay"
  }

  static let all: [ExpectedRun] =
    (try? JSONDecoder().decode(
      [ExpectedRun].self, from: Data(contentsOf: URL(filePath: typed + "/expected.json")))) ?? []

  var options: FineTuner.Options {
    var options = FineTuner.Options.wholeBatch(of: folder)
    options.learningRate = lr
    options.momentum = momentum
    options.weightDecay = weightDecay
    return options
  }
}

@Suite("Fine-tuning of networks with inputs of other types, and with a sigmoid")
struct TypedTrainingTests {
  @Test("the fixtures are there")
  func fixturesAreThere() { #expect(ExpectedRun.all.count == 5) }

  @Test("ten steps are PyTorch's", arguments: ExpectedRun.all)
  fileprivate func tenSteps(_ expected: ExpectedRun) throws {
    try withTemporaryFolder { folder in
      let (bundle, tuned) = (folder + "/net.graft", folder + "/tuned.graft")
      try compile(expected.folder + "/network.onnx", to: bundle)
      var tuner = try FineTuner(bundle, expected.options)
      let report = try tuner.run(to: tuned)
      for (found, loss) in zip(report.epochs.map(\.loss), expected.losses) {
        #expect(abs(found - loss) <= 1e-4 * loss, "\(found) for \(loss)")
      }
      let (before, after) = (try trainedWeights(of: bundle), try trainedWeights(of: tuned))
      for (name, values) in expected.weights {
        let found = try #require(after[name], "\(name) is missing of \(after.keys)")
        let change = zip(values, try #require(before[name])).map { abs($0 - Double($1)) }.max() ?? 0
        let worst = zip(found, values).map { abs(Double($0) - $1) }.max() ?? .infinity
        #expect(worst <= 1e-3 * change + 1e-6, "\(name) is off by \(worst) of \(change)")
      }
      // What was tuned is evaluated on the same data, and exported, like any other bundle.
      var evaluator = try Evaluator(ModelBundle(opening: tuned), threads: 1)
      #expect(try evaluator.evaluate(expected.folder).images == 12)
      _ = try graft(["export", tuned, "-o", folder + "/tuned.onnx"])
      try compile(folder + "/tuned.onnx", to: folder + "/again.graft")
    }
  }

  @Test("an embedding is an operator with weights before the head")
  func freezeLines() throws {
    let ids = try #require(ExpectedRun.all.first { $0.name == "ids" })
    try withTemporaryFolder { folder in
      let bundle = folder + "/net.graft"
      try compile(ids.folder + "/network.onnx", to: bundle)
      let before = try trainedWeights(of: bundle)
      var bits: [[Float]] = []
      for index in 0..<5 {
        var options = ids.options
        options.head = .linear
        options.epochs = 2
        switch index {
        case 0: options.unfreeze = .none
        case 1: options.unfreeze = .last(1)
        case 2: options.unfreeze = .last(2)
        case 3: options.unfreeze = .scope("embedding")
        default: options.unfreeze = .all
        }
        options.threads = index % 2 + 1
        var tuner = try FineTuner(bundle, options)
        _ = try tuner.run(to: folder + "/\(index).graft")
        let after = try trainedWeights(of: folder + "/\(index).graft")
        #expect((after["embedding.weight"] != before["embedding.weight"]) == (index > 1))
        #expect((after["layer.weight"] != before["layer.weight"]) == (index > 0))
        if index > 1 { bits.append(try #require(after["embedding.weight"])) }
      }
      // The same steps on one thread and on two, whatever else the freeze line says.
      #expect(bits.allSatisfy { $0 == bits.first })
    }
  }

  @Test("tensors of a wrong type or outside of the input's are refused, with the row")
  func refusedTensors() throws {
    let ids = try #require(ExpectedRun.all.first { $0.name == "ids" })
    try withTemporaryFolder { folder in
      try compile(ids.folder + "/network.onnx", to: folder + "/net.graft")
      func problem(_ array: NPYArray) throws -> String {
        try FileManager.default.createDirectory(
          atPath: folder + "/data", withIntermediateDirectories: true)
        try Data(array.encoded()).write(to: URL(filePath: folder + "/data/x.npy"))
        try Data(NPYArray([0, 1] as [Int64], shape: [2]).encoded()).write(
          to: URL(filePath: folder + "/data/y.npy"))
        let run = try GraftProgram.run(
          [
            "finetune", folder + "/net.graft", "--data", folder + "/data", "-o",
            folder + "/t.graft",
          ])
        #expect(run.status == 1)
        return run.errors
      }
      let floats = try problem(NPYArray([Float](repeating: 1, count: 10), shape: [2, 5]))
      #expect(floats.contains("takes i64") && floats.contains("x.astype('<i8')"), "\(floats)")
      var large = [Int64](repeating: 1, count: 10)
      large[7] = 1 << 40
      let outside = try problem(NPYArray(large, shape: [2, 5]))
      #expect(outside.contains("row 1 has the value 1099511627776"), "\(outside)")
    }
  }

  @Test("pictures reach a uint8 input as they are")
  func pixels() throws {
    let pixels = try #require(ExpectedRun.all.first { $0.name == "pixels" })
    try withTemporaryFolder { folder in
      let (bundle, model) = (folder + "/net.graft", pixels.folder + "/network.onnx")
      try compile(model, to: bundle, ["--preprocess", "cifar10"])
      let numbers = (0..<192).map { UInt8(truncatingIfNeeded: $0 &* 37) }
      let image = try Image(width: 8, height: 8, channels: 3, pixels: numbers)
      for name in ["a", "b", "c"] {
        try FileManager.default.createDirectory(
          atPath: folder + "/data/\(name)", withIntermediateDirectories: true)
        for number in 0..<2 {
          try Data(image.encodedPNG()).write(
            to: URL(filePath: folder + "/data/\(name)/\(number).png"))
        }
      }
      _ = try graft(["predict", bundle, folder + "/data/a/0.png"])
      _ = try graft([
        "preprocess", bundle, "--data", folder + "/data", "--output-dir", folder + "/fed",
      ])
      let fed = try NPYArray(contentsOf: folder + "/fed/x.npy")
      #expect(fed.element == .uint8 && fed.shape == [6, 3, 8, 8])
      let planes = (0..<3).flatMap { channel in (0..<64).map { numbers[$0 * 3 + channel] } }
      #expect(Array(fed.bytes.prefix(192)) == planes)
      _ = try graft([
        "finetune", bundle, "--data", folder + "/data", "-o", folder + "/tuned.graft", "--epochs",
        "1", "--augment", "flip", "--cutmix", "1", "--report", folder + "/report.html",
      ])
      let mixed = try GraftProgram.run([
        "finetune", bundle, "--data", folder + "/data", "-o", folder + "/m.graft", "--mixup", "0.2",
      ])
      #expect(mixed.status == 1 && mixed.errors.contains("interpolates inputs"), "\(mixed.errors)")
      try Data(
        """
        {"color": "RGB", "layout": "NCHW", "scale": 0.00392156862745098, "mean": [0, 0, 0], "std": [1, 1, 1],
         "resize": {"exact": [8, 8]}}
        """.utf8
      ).write(to: URL(filePath: folder + "/scaled.json"))
      let scaled = try GraftProgram.run([
        "compile", model, "-o", folder + "/s.graft", "--preprocess", folder + "/scaled.json",
      ])
      #expect(scaled.status == 1 && scaled.errors.contains("needs integers"))
    }
  }
}
