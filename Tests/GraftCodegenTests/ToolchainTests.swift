import Foundation
import GraftDiagnostics
import GraftTesting
import Testing

@testable import GraftCodegen

/// Compilers that are not what they say, as scripts.
@Suite("clang that cannot be used")
struct ToolchainTests {
  private func withScript<Result>(
    _ text: String, _ body: (String) throws -> Result
  ) throws -> Result {
    try withTemporaryFolder { folder in
      let path = folder + "/clang"
      try Data(("#!/bin/sh\n" + text).utf8).write(to: URL(fileURLWithPath: path))
      chmod(path, 0o755)
      return try body(path)
    }
  }

  private func expectError(
    _ fragments: [String], _ body: () throws -> Void,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: GraftError.self, sourceLocation: sourceLocation) { try body() }
    for fragment in fragments {
      #expect(
        error?.description.contains(fragment) == true, "\(error?.description ?? "")",
        sourceLocation: sourceLocation)
    }
  }

  @Test(
    "versions that are too old, other compilers, and ones that do not run",
    arguments: [
      ("echo 'Debian clang version 13.0.1-11+b2'", "is clang 13"),
      ("echo 'gcc (Debian 12.2.0) 12.2.0'", "is not clang"), ("exit 3", "failed with status 3"),
      ("kill -9 $$", "was ended by signal 9"),
    ])
  func version(_ script: String, _ fragment: String) throws {
    try withScript(script) { path in
      expectError([fragment, "clang 14 or later", "GRAFT_CLANG"]) {
        _ = try Toolchain.find(environment: ["GRAFT_CLANG": path])
      }
    }
  }

  @Test("the oldest that works is taken, and words on standard error do not matter")
  func oldest() throws {
    try withScript("echo noise >&2; echo 'Debian clang version 14.0.6'") { path in
      let found = try Toolchain.find(environment: ["GRAFT_CLANG": path])
      #expect(found.version == "Debian clang version 14.0.6")
    }
  }

  @Test("none at all")
  func none() {
    expectError(["no clang on PATH", "clang 14 or later"]) {
      _ = try Toolchain.find(environment: ["PATH": "/nowhere"])
    }
  }

  @Test("one that writes nothing and says that all went well")
  func writesNothing() throws {
    try withScript("exit 0") { path in
      let model = try MachineProbe.generate(for: .generic)
      let folder = (path as NSString).deletingLastPathComponent
      expectError(["succeeded, but wrote no"]) {
        try Toolchain(clang: path, version: "").compile(model, into: folder)
      }
    }
  }

  @Test("one that does not end")
  func doesNotEnd() throws {
    try withScript("echo before; exec sleep 100") { path in
      expectError(["did not end within 1 s and was killed"]) {
        _ = try Subprocess.run(path, [], seconds: 0.3)
      }
    }
  }

  @Test("input, both outputs and the status of a program come through, however long")
  func programs() throws {
    let text = String(repeating: "0123456789", count: 40_000)
    let result = try Subprocess.run(
      "/bin/sh", ["-c", "cat; echo problem >&2; exit 7"], input: text)
    #expect(result.output == text && result.errors == "problem\n" && result.status == 7)
    // Who never reads its input is not ended by a signal, and a descendant that keeps outputs open is not
    // waited for.
    let other = try Subprocess.run("/bin/sh", ["-c", "sleep 60 & exit 0"], input: text)
    #expect(other.status == 0)
  }
}
