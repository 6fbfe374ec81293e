// Networks whose factors are rounded to bfloat16, against onnxruntime's float32 outputs.

import Foundation
import Graft
import GraftTesting
import Testing

@Suite struct HalfNetworkTests {
  /// The error is at most 2⁻⁷ of the spread; on machines without kernels for bfloat16 a warning says that all is
  /// float32.
  @Test(
    arguments: [
      "winograd_residual", "depthwise_separable", "inception_block", "shuffle_block",
      "dense_block", "unet", "attention", "classifier",
    ])
  func aNetworkInBfloat16(name: String) throws {
    let fixture = try ModelFixture.named(name)
    try withTemporaryFolder { folder in
      var options = Compiler.Options()
      options.precision = .bfloat16
      options.target = .native(for: .bfloat16)
      let path = folder + "/half.graft"
      let report = try Compiler(options).compile(fixture.modelPath, to: path)
      let hasKernels = CompilationTarget.x8664v4amx.isRunnable
      #expect(report.precision == (hasKernels ? .bfloat16 : .float32))
      #expect(report.warnings.contains { $0.message.contains("in bfloat16") } == !hasKernels)
      let bundle = try ModelBundle(opening: path)
      #expect(bundle.manifest.precision == report.precision)
      let inputs = try fixture.loadInputs()
      let found = try Session(bundle, threads: 1).run(inputs)
      let two = try Session(bundle, threads: 2).run(inputs)
      for (output, tensor) in try fixture.loadOutputs() {
        let numbers = try #require(found[output])
        #expect(numbers.bytes == two[output]?.bytes)
        let spread = (tensor.elements.max() ?? 0) - (tensor.elements.min() ?? 0)
        let error = zip(numbers.elements, tensor.elements).map { abs($0 - $1) }.max() ?? 0
        #expect(error <= spread / 128, "\(error / spread)")
      }
      // The bundle remembers it.
      options.precision = nil
      let again = folder + "/again.graft"
      #expect(try Compiler(options).compile(path, to: again).precision == report.precision)
      for file in ["packed.bin", "graph.ir"] {
        #expect(
          try Data(contentsOf: URL(filePath: path).appending(path: file))
            == Data(contentsOf: URL(filePath: again).appending(path: file)))
      }
      options.precision = .float32
      #expect(try Compiler(options).compile(path, to: again).precision == .float32)
    }
  }

  @Test func theCommandLine() throws {
    let fixture = try ModelFixture.named("winograd_residual")
    try withTemporaryFolder { folder in
      let path = folder + "/half.graft"
      let done = try GraftProgram.run([
        "compile", fixture.modelPath, "-o", path, "--precision", "bfloat16", "--target",
        "x86-64-v4-amx", "--tune", "off", "--compact",
      ])
      #expect(done.status == 0, "\(done.errors)")
      let verified = try GraftProgram.run(["verify", path])
      #expect(verified.status == 0 && verified.output.contains("bfloat16"), "\(verified.output)")
      let dumped = try GraftProgram.run([
        "dump", path, "--stage", "scheduled", "--target", "x86-64-v4-amx",
      ])
      #expect(dumped.status == 0 && dumped.output.contains("tiles of bfloat16"), "\(dumped.errors)")
      let trained = try GraftProgram.run([
        "compile", path, "-o", folder + "/x.graft", "--precision", "bfloat16", "--trainable",
        "none",
      ])
      #expect(trained.status == 64, "\(trained.errors)")
    }
  }
}
