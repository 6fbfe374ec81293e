// A bundle where Graft is not: the C and the Python program of docs/examples, in an environment whose
// PATH holds nothing, give the numbers that Session gives; and the library needs nothing but the system.

import Foundation
import Graft
import GraftTesting
import Testing

@Suite struct WithoutGraftTests {
  private static let examples = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appending(path: "docs/examples").path

  /// A compiled bundle with an input, as bytes, and the output that Session gives for it.
  private func prepare(in folder: String) throws -> (path: String, input: Data, expected: [Float]) {
    let fixture = try ModelFixture.named("conv_bn_relu")
    let path = folder + "/net.graft"
    try Compiler().compile(fixture.modelPath, to: path)
    let inputs = try fixture.loadInputs()
    let output = try Session(ModelBundle(opening: path), threads: 2).run(inputs)
    let elements = try #require(inputs.values.first).elements
    return (
      path, elements.withUnsafeBytes { Data($0) }, try #require(output.values.first).elements
    )
  }

  private func batch(of path: String) throws -> String {
    let fixture = try ModelFixture.named("conv_bn_relu")
    return String(try #require(fixture.loadInputs().values.first).shape[0])
  }

  private func expect(_ folder: String, output: URL, is expected: [Float]) throws {
    #expect(try floats(Data(contentsOf: output)).map(\.bitPattern) == expected.map(\.bitPattern))
  }

  private func floats(_ bytes: Data) -> [Float] {
    bytes.withUnsafeBytes { raw in
      (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
  }

  private func run(_ command: String, in folder: String, input: Data) throws {
    try input.write(to: URL(filePath: folder + "/input.f32"))
    let result = try GraftProgram.run(
      "/bin/sh", ["-c", "cd '\(folder)' && \(command) <input.f32 >output.f32"],
      environment: ["PATH": folder + "/nothing"])
    try #require(result.status == 0, "\(result.errors)")
  }

  @Test func fromC() throws {
    try withTemporaryFolder { folder in
      let (path, input, expected) = try prepare(in: folder)
      let compiled = try GraftProgram.run(
        "/usr/bin/env",
        [
          "clang", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", path,
          Self.examples + "/run_bundle.c", "-ldl", "-o", folder + "/run_bundle",
        ])
      try #require(compiled.status == 0, "\(compiled.errors)")
      try run("./run_bundle net.graft \(try batch(of: path)) 2", in: folder, input: input)
      try expect(folder, output: URL(filePath: folder + "/output.f32"), is: expected)
    }
  }

  /// The same program and networks of convolutions (direct, grouped, Winograd), poolings and products,
  /// compiled for Arm and run by an emulator: what ONNX's own numbers say.
  @Test(arguments: [
    "conv_bn_relu", "winograd_residual", "residual_block", "depthwise_separable",
    "grouped_dilated_conv",
    "inception_block", "squeeze_excite", "classifier",
  ])
  func onArm(name: String) throws {
    try withTemporaryFolder { folder in
      let fixture = try ModelFixture.named(name)
      let (path, inputs) = (folder + "/net.graft", try fixture.loadInputs())
      try #require(inputs.count == 1)
      var options = Compiler.Options()
      options.target = try CompilationTarget(named: "aarch64")
      try Compiler(options).compile(fixture.modelPath, to: path)
      let compiled = try GraftProgram.run(
        "/usr/bin/env",
        [
          "clang", "--target=aarch64-linux-gnu", "-fuse-ld=lld", "-std=c11", "-I", path,
          Self.examples + "/run_bundle.c", "-ldl", "-o", folder + "/run_bundle",
        ])
      try #require(compiled.status == 0, "\(compiled.errors)")
      let input = try #require(inputs.values.first)
      try run(
        "/usr/bin/qemu-aarch64-static -L /usr/aarch64-linux-gnu ./run_bundle net.graft "
          + "\(input.shape[0]) 2", in: folder,
        input: input.elements.withUnsafeBytes { Data($0) })
      let bytes = try Data(contentsOf: URL(filePath: folder + "/output.f32"))
      let (output, expected) = try (
        #require(fixture.outputs.first).name, #require(fixture.loadOutputs().values.first)
      )
      try #require(fixture.outputs.count == 1 && bytes.count == 4 * expected.elements.count)
      try fixture.expectOutputs(
        [output: Tensor(shape: expected.shape, elements: floats(bytes))], "on aarch64")
    }
  }

  @Test func fromPython() throws {
    let found = try GraftProgram.run(
      "/usr/bin/env", ["python3", "-c", "import sys; print(sys.executable)"])
    try #require(found.status == 0, "tools/setup installs python3: \(found.errors)")
    let python = found.output.trimmingCharacters(in: .whitespacesAndNewlines)
    try withTemporaryFolder { folder in
      let (path, input, expected) = try prepare(in: folder)
      try run(
        "'\(python)' '\(Self.examples)/run_bundle.py' net.graft \(try batch(of: path))", in: folder,
        input: input)
      try expect(folder, output: URL(filePath: folder + "/output.f32"), is: expected)
    }
  }

  @Test func theLibraryNeedsOnlyTheSystem() throws {
    try withTemporaryFolder { folder in
      let (path, _, _) = try prepare(in: folder)
      let result = try GraftProgram.run("/usr/bin/ldd", [path + "/libmodel.so"])
      let names = result.output.split(separator: "\n").compactMap {
        $0.split(whereSeparator: \.isWhitespace).first.map(String.init)
      }
      #expect(!names.isEmpty)
      for name in names {
        let file = URL(filePath: name).lastPathComponent
        #expect(
          ["libc.so.6", "libm.so.6", "linux-vdso.so.1"].contains(file)
            || file.hasPrefix("ld-linux"),
          "\(name)")
      }
    }
  }
}
