// A pretrained network on bytes, through the library and the command line.

import Foundation
import Graft
import GraftTesting
import Testing

@Suite struct QuantizedNetworkTests {
  private let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  private var model: String { root.appending(path: "models/resnet20-cifar10.onnx").path }
  private var digits: String { root.appending(path: "models/digits/train").path }

  /// Small, and near float32 on what it was calibrated with, with the same bits at any number of threads.
  @Test(
    arguments: [
      ("winograd_residual", CalibrationMethod.minmax), ("winograd_residual", .mse),
      ("depthwise_separable", .minmax), ("inception_block", .percentile),
      ("shuffle_block", .minmax), ("squeeze_excite", .minmax), ("fire_module", .entropy),
      ("residual_block", .minmax), ("dense_block", .minmax), ("unet", .minmax),
    ])
  func aNetworkOnBytes(name: String, method: CalibrationMethod) throws {
    let fixture = try ModelFixture.named(name)
    try withTemporaryFolder { folder in
      let inputs = try fixture.loadInputs()
      try TensorFiles.write(inputs, to: folder + "/data")
      let file = try #require(
        try FileManager.default.contentsOfDirectory(atPath: folder + "/data").first)
      var options = Compiler.Options()
      let wide = try Compiler(options).compile(fixture.modelPath, to: folder + "/wide.graft")
      options.target = .native(for: .int8)
      options.quantization = QuantizationOptions(
        calibrationData: folder + "/data/" + file, method: method)
      let report = try Compiler(options).compile(fixture.modelPath, to: folder + "/bytes.graft")
      #expect(report.packedBytes < wide.packedBytes)

      let bundle = try ModelBundle(opening: folder + "/bytes.graft")
      #expect(bundle.manifest.schedule.contains { $0.contains("_u8_") })
      let found = try Session(bundle, threads: 1).run(inputs)
      let two = try Session(bundle, threads: 2).run(inputs)
      let expected = try Session(ModelBundle(opening: folder + "/wide.graft")).run(inputs)
      for (output, tensor) in expected {
        let numbers = try #require(found[output])
        #expect(numbers.bytes == two[output]?.bytes)
        let spread = (tensor.elements.max() ?? 0) - (tensor.elements.min() ?? 0)
        let error = zip(numbers.elements, tensor.elements).map { abs($0 - $1) }.max() ?? 0
        #expect(error < 0.05 * spread, "\(error / spread)")
        #expect(error > 0)
      }
    }
  }

  @Test func theCommandLine() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/bytes.graft"
      let done = try GraftProgram.run([
        "compile", model, "-o", path, "--preprocess", "cifar10", "--precision", "int8",
        "--calibrate", digits, "--explain", "--tune", "off",
      ])
      #expect(done.status == 0, "\(done.errors)")
      #expect(done.output.contains("quantize: put 22 layers on bytes, with 1 conversions"))
      #expect(try GraftProgram.run(["verify", path]).status == 0)
      let evaluated = try GraftProgram.run(["bench", path, "--seconds", "0.1", "--json"])
      #expect(evaluated.status == 0, "\(evaluated.errors)")
    }
  }
}
