// What a bundle remembers of its quantization: compiled again it has the same bits, and fine-tuned it stays on bytes.

import Foundation
import GraftDiagnostics
import GraftTesting
import Testing

@testable import Graft

@Suite struct QuantizedBundleTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// Writes the inputs of a fixture, and returns the path of the only one.
  private func inputs(of fixture: ModelFixture, in folder: String) throws -> String {
    try TensorFiles.write(fixture.loadInputs(), to: folder + "/data")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/data")
    return try folder + "/data/" + #require(names.first)
  }

  private func contents(_ bundle: String, _ file: String) throws -> Data {
    try Data(contentsOf: URL(filePath: bundle).appending(path: file))
  }

  @Test(
    arguments: [
      ("winograd_residual", CalibrationMethod.mse), ("depthwise_separable", .minmax),
      ("shuffle_block", .percentile), ("squeeze_excite", .minmax), ("unet", .minmax),
    ])
  func compiledAgain(name: String, method: CalibrationMethod) throws {
    let fixture = try ModelFixture.named(name)
    try withTemporaryFolder { folder in
      let inputs = try fixture.loadInputs()
      var options = Compiler.Options()
      options.target = .native(for: .int8)
      options.quantization = QuantizationOptions(
        calibrationData: try self.inputs(of: fixture, in: folder), method: method)
      let first = folder + "/first.graft"
      try Compiler(options).compile(fixture.modelPath, to: first)
      let bundle = try ModelBundle(opening: first)
      try bundle.verify()
      let entry = try #require(bundle.manifest.quantization)
      #expect(entry.precision == .int8 && entry.calibrator == method)
      #expect(entry.items == inputs.first?.value.shape.first)

      options.quantization = nil
      let again = folder + "/again.graft"
      let report = try Compiler(options).compile(first, to: again)
      #expect(report.warnings.isEmpty && report.precision == .int8, "\(report.warnings)")
      for file in ["ranges.json", "packed.bin", "graph.ir"] {
        #expect(try contents(first, file) == contents(again, file), "\(file)")
      }
      let repeated = try ModelBundle(opening: again)
      #expect(repeated.manifest.quantization == entry)
      #expect(repeated.manifest.schedule == bundle.manifest.schedule)
      #expect(try Session(repeated).run(inputs) == Session(bundle).run(inputs))

      options.precision = .float32
      let wide = folder + "/wide.graft"
      #expect(try Compiler(options).compile(again, to: wide).precision == .float32)
      let plain = folder + "/plain.graft"
      try Compiler(options).compile(fixture.modelPath, to: plain)
      let manifest = try ModelBundle(opening: wide).manifest
      #expect(manifest.quantization == nil && manifest.files["ranges.json"] == nil)
      #expect(try contents(wide, "packed.bin") == contents(plain, "packed.bin"))
    }
  }

  /// Every program has the bits that it would have with the same ranges alone.
  @Test func severalSizesShareRanges() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      try TensorFiles.write(["x": try randomTensor([16, 3, 20, 24])], to: folder + "/data")
      let both = try model.compile {
        $0.quantization = QuantizationOptions(calibrationData: folder + "/data/x.npy")
      }
      try both.verify()
      #expect(both.manifest.programs.allSatisfy { $0.schedule.contains { $0.contains("_u8_") } })
      let second = try model.compile([SizedModel.sizes[1]]) {
        $0.quantization = QuantizationOptions(calibrationData: folder + "/data/x.npy")
      }
      let x = try randomTensor([2, 3, 20, 24], seed: 3)
      #expect(try Session(both).run(["x": x]) == Session(second).run(["x": x]))
      var options = Compiler.Options()
      options.inputShapes = [["x": try #require(InputShape(SizedModel.sizes[0]))]]
      try Compiler(options).compile(both.path, to: folder + "/small.graft")
      let small = try ModelBundle(opening: folder + "/small.graft")
      #expect(small.manifest.precision == .int8)
      let y = try randomTensor([2, 3, 12, 16], seed: 4)
      #expect(try Session(small).run(["x": y]) == Session(both).run(["x": y]))
    }
  }

  /// On the frozen layers of an int8 network a head learns as much as on those of the float32 one.
  @Test func fineTuned() throws {
    let model = Self.root.appending(path: "models/resnet20-cifar10.onnx").path
    let digits = Self.root.appending(path: "models/digits/train")
    try withTemporaryFolder { folder in
      let data = folder + "/data"
      try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
      for digit in ["0", "1", "4"] {
        try FileManager.default.createSymbolicLink(
          atPath: data + "/" + digit, withDestinationPath: digits.appending(path: digit).path)
      }
      func graft(_ arguments: [String]) throws -> GraftProgram.Result {
        let done = try GraftProgram.run(arguments)
        #expect(done.status == 0, "\(arguments): \(done.errors)")
        return done
      }
      struct Score: Decodable { var top1, loss: Double }
      func tune(_ name: String, _ options: [String]) throws -> (score: Score, messages: String) {
        let (bundle, tuned) = ("\(folder)/\(name).graft", "\(folder)/\(name)-tuned.graft")
        _ = try graft(
          ["compile", model, "-o", bundle, "--preprocess", "cifar10", "--tune", "off"] + options)
        let done = try graft([
          "finetune", bundle, "--data", data, "--val-split", "0", "-o", tuned, "--epochs", "60",
          "--optimizer", "adam", "--lr", "0.05", "--report", "\(folder)/\(name).html",
        ])
        _ = try graft(["verify", tuned])
        let text = try graft(["evaluate", tuned, "--data", data, "--json"]).output
        return (try JSONDecoder().decode(Score.self, from: Data(text.utf8)), done.errors)
      }
      let wide = try tune("wide", [])
      let bytes = try tune("bytes", ["--precision", "int8", "--calibrate", data])
      #expect(wide.score.top1 > 0.98)
      #expect(abs(bytes.score.top1 - wide.score.top1) < 0.003, "\(bytes.score), \(wide.score)")
      #expect(abs(bytes.score.loss / wide.score.loss - 1) < 0.05, "\(bytes.score), \(wide.score)")
      #expect(bytes.messages.contains("in int8") && !wide.messages.contains("int8"))
      let report = try String(contentsOfFile: folder + "/bytes.html", encoding: .utf8)
      #expect(report.contains("int8 in the frozen layers"))

      let before = try ModelBundle(opening: folder + "/bytes.graft")
      let after = try ModelBundle(opening: folder + "/bytes-tuned.graft")
      #expect(after.manifest.precision == .int8)
      #expect(try ModelBundle(opening: folder + "/wide-tuned.graft").manifest.precision == .float32)
      // All layers but the head compute what they did, with the same numbers.
      let (first, second) = try (before.loadQuantization(), after.loadQuantization())
      let (recorded, kept) = try (#require(first), #require(second))
      let frozen = recorded.ranges.filter { kept.ranges[$0.key] == $0.value }
      #expect(frozen.count >= recorded.ranges.count - 1)
      let layers = [before, after].map { bundle in
        bundle.manifest.schedule.filter { $0.contains("conv_u8") }
      }
      #expect(layers[0] == layers[1] && layers[0].count == 21)

      let plan = try graft([
        "finetune", folder + "/bytes.graft", "--data", data, "--plan", "--epochs", "1",
      ])
      #expect(plan.output.contains("(int8)"))
      let exported = try graft(["export", folder + "/bytes.graft", "-o", folder + "/model.onnx"])
      #expect(exported.errors.contains("exported in float32"))
      let dumped = try graft(["dump", folder + "/bytes.graft", "--stage", "scheduled"])
      #expect(dumped.output.contains("quantized_convolution") && dumped.errors.contains("int8"))
      #expect(try graft(["verify", folder + "/bytes.graft"]).output.contains("int8"))
    }
  }

  /// Exported with its conversions, and imported as a file that others quantized, it computes the same.
  @Test(arguments: ["winograd_residual", "depthwise_separable", "inception_block", "unet"])
  func exportedQuantized(name: String) throws {
    let fixture = try ModelFixture.named(name)
    try withTemporaryFolder { folder in
      var options = Compiler.Options()
      options.quantization = QuantizationOptions(
        calibrationData: try self.inputs(of: fixture, in: folder))
      try Compiler(options).compile(fixture.modelPath, to: folder + "/bytes.graft")
      let bundle = try ModelBundle(opening: folder + "/bytes.graft")
      _ = try Exporter.export(bundle, to: folder + "/model.onnx", as: .quantized)
      try Compiler().compile(folder + "/model.onnx", to: folder + "/again.graft")
      let again = try ModelBundle(opening: folder + "/again.graft")
      #expect(again.manifest.schedule.contains { $0.contains("conv_u8") })
      let inputs = try fixture.loadInputs()
      let expected = try Session(bundle).run(inputs)
      for (output, tensor) in try Session(again).run(inputs) {
        let numbers = try #require(expected[output]).elements
        let spread = (numbers.max() ?? 0) - (numbers.min() ?? 0)
        let error = zip(tensor.elements, numbers).map { abs($0 - $1) }.max() ?? 0
        // One step of bytes, for a sum that rounds the other way.
        #expect(error <= 1.01 * spread / 255, "\(error / spread)")
      }
    }
  }

  @Test func onlyBytesAreExportedQuantized() throws {
    try withTemporaryFolder { folder in
      try Compiler().compile(
        ModelFixture.named("residual_block").modelPath, to: folder + "/plain.graft")
      let done = try GraftProgram.run(
        ["export", folder + "/plain.graft", "-o", folder + "/model.onnx", "--quantized"])
      #expect(done.status == 1 && done.errors.contains("records no ranges"), "\(done.errors)")
      #expect(!FileManager.default.fileExists(atPath: folder + "/model.onnx"))
      #expect(
        try GraftProgram.run(
          ["export", folder + "/plain.graft", "-o", folder + "/m.onnx", "--quantized", "--fused"]
        ).status == 64)
    }
  }
}
