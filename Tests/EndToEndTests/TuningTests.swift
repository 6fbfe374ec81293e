// graft compile --tune: the same answers, what was measured kept for the next time, and no bundle lost where
// measuring or keeping fails.

import Foundation
import Graft
import GraftTesting
import Testing

@Suite struct TuningTests {
  private static let fixture = "winograd_residual"

  private func compile(
    _ fixture: String = fixture, to path: String, cache: String, tune: String = "quick",
    _ more: [String] = []
  ) throws -> GraftProgram.Result {
    let result = try GraftProgram.run(
      ["compile", ModelFixture.named(fixture).modelPath, "-o", path, "--tune", tune] + more,
      environment: ["XDG_CACHE_HOME": cache])
    #expect(result.status == 0, "\(result.errors)")
    return result
  }

  private func files(of bundle: String) throws -> [String: Manifest.File] {
    try ModelBundle(opening: bundle).manifest.files
  }

  private func caches(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder + "/graft").map {
      folder + "/graft/" + $0
    }
  }

  @Test func measuresOnceAndAnswersTheSame() throws {
    let fixture = try ModelFixture.named(Self.fixture)
    try withTemporaryFolder { folder in
      let (first, second) = (folder + "/first.graft", folder + "/second.graft")
      let measured = try compile(to: first, cache: folder + "/cache", ["--explain"])
      #expect(measured.errors.contains("tuned for "))
      #expect(!measured.errors.contains(" 0 measured"))
      #expect(measured.output.contains("tuning: N of "))
      try fixture.expectOutputs(
        Session(ModelBundle(opening: first), threads: 2).run(fixture.loadInputs()), "tuned")
      #expect(try caches(in: folder + "/cache").count == 1)

      let known = try compile(to: second, cache: folder + "/cache")
      #expect(known.errors.contains(" 0 measured"))
      #expect(try files(of: first) == files(of: second))
      #expect(
        try ModelBundle(opening: first).manifest == ModelBundle(opening: second).manifest)
    }
  }

  /// What `quick` measured is not enough for `full`, which measures more; what `full` did serves both.
  @Test func fullGoesFurther() throws {
    let name = "asymmetric_pads"
    let fixture = try ModelFixture.named(name)
    try withTemporaryFolder { folder in
      func measures(_ tune: String) throws -> Bool {
        let bundle = folder + "/\(tune).graft"
        let result = try compile(name, to: bundle, cache: folder + "/cache", tune: tune)
        #expect(result.errors.contains("tuned for "))
        try fixture.expectOutputs(
          Session(ModelBundle(opening: bundle), threads: 2).run(fixture.loadInputs()), tune)
        return !result.errors.contains(" 0 measured")
      }
      let measured = try ["quick", "full", "full", "quick"].map(measures)
      #expect(measured == [true, true, false, false])
    }
  }

  @Test func withoutTuningNothingIsKept() throws {
    try withTemporaryFolder { folder in
      let result = try compile(
        to: folder + "/net.graft", cache: folder + "/cache", tune: "off")
      #expect(!result.errors.contains("tuned"))
      #expect(!FileManager.default.fileExists(atPath: folder + "/cache"))
      #expect(try ModelBundle(opening: folder + "/net.graft").manifest.tuned == nil)
    }
  }

  @Test(arguments: ["{", "[]", #"{"context":{},"sites":{}}"#, "\u{0}"])
  func damagedCache(text: String) throws {
    try withTemporaryFolder { folder in
      let cache = folder + "/cache"
      _ = try compile(to: folder + "/one.graft", cache: cache)
      let file = try #require(try caches(in: cache).first)
      try text.write(toFile: file, atomically: true, encoding: .utf8)
      let result = try compile(to: folder + "/two.graft", cache: cache)
      #expect(result.errors.contains("tuning cache"))
      #expect(result.errors.contains(file))
      let mended = try compile(to: folder + "/three.graft", cache: cache)
      #expect(!mended.errors.contains("tuning cache"))
      #expect(mended.errors.contains(" 0 measured"))
    }
  }

  @Test func cacheThatCannotBeWritten() throws {
    try withTemporaryFolder { folder in
      try "in the way".write(toFile: folder + "/cache", atomically: true, encoding: .utf8)
      let result = try compile(to: folder + "/net.graft", cache: folder + "/cache")
      #expect(result.errors.contains("the tuning cache cannot be written"))
      try ModelBundle(opening: folder + "/net.graft").verify()
    }
  }

  /// Nothing can be measured for a machine that is not there.
  @Test func otherMachine() throws {
    try withTemporaryFolder { folder in
      let result = try compile(
        to: folder + "/net.graft", cache: folder + "/cache", ["--target", Self.otherTarget])
      #expect(result.errors.contains("not tuned: this machine cannot run \(Self.otherTarget)"))
      try ModelBundle(opening: folder + "/net.graft").verify()
    }
  }

  private static var otherTarget: String {
    CompilationTarget.names.dropFirst().first {
      (try? CompilationTarget(named: $0))?.isRunnable == false
    } ?? "aarch64"
  }

  /// No room for builds: the bundle comes all the same.
  @Test func noTemporaryFolder() throws {
    try withTemporaryFolder { folder in
      let result = try GraftProgram.run(
        [
          "compile", ModelFixture.named(Self.fixture).modelPath, "-o", folder + "/net.graft",
          "--tune", "quick",
        ],
        environment: ["XDG_CACHE_HOME": folder + "/cache", "TMPDIR": folder + "/none"])
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.errors.contains("not tuned: cannot make a temporary folder"))
      try ModelBundle(opening: folder + "/net.graft").verify()
    }
  }
}
