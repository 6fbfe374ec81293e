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
    let bytes = try Data(contentsOf: output)
    let floats = bytes.withUnsafeBytes { raw in
      (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
    #expect(floats.map(\.bitPattern) == expected.map(\.bitPattern))
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
