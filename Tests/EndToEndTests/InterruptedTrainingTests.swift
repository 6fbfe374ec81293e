// A run of the real executable that is killed at random moments and resumed: the same bits as one that never
// stopped, and at every moment a bundle that is the old one or the new one.

import Foundation
import Graft
import GraftCodegen
import GraftTesting
import Testing

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/training")

/// The float32 parameters of a bundle by name, bit for bit.
private func bits(of path: String) throws -> [String: [UInt32]] {
  let bundle = try ModelBundle(opening: path)
  let graph = try bundle.loadGraph()
  return Dictionary(
    uniqueKeysWithValues: graph.parameters.compactMap { id in
      guard let name = graph[id].name, let data = graph[id].parameter?.data else { return nil }
      return (name, data.floats().map(\.bitPattern))
    })
}

@Suite("Interrupted training")
struct InterruptedTrainingTests {
  @Test("kill -9 at twenty moments, resumed, gives the bits of a run that never stopped")
  func kills() throws {
    try withTemporaryFolder { folder in
      let bundle = folder + "/network.graft"
      try Compiler().compile(fixtures.appending(path: "network.onnx").path, to: bundle)
      let scratch = folder + "/scratch"
      try FileManager.default.createDirectory(
        atPath: scratch, withIntermediateDirectories: true)
      // What counts is what lies on the disk, not how fast the steps are: most of a run is compiling.
      let clang = folder + "/clang"
      let script = "#!/bin/sh\nexec '\(try Toolchain.find().clang)' \"$@\" -O0\n"
      try Data(script.utf8).write(to: URL(filePath: clang))
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: clang)
      let environment = ["TMPDIR": scratch, "GRAFT_CLANG": clang]
      func arguments(_ output: String, _ options: [String]) -> [String] {
        [
          "finetune", bundle, "--data", fixtures.path, "--head", "keep", "--unfreeze", "all",
          "--bn", "train", "--optimizer", "adam", "--batch-size", "5", "--val-split", "0.25",
          "--epochs", "40", "--seed", "3", "-o", output,
        ] + options
      }
      let whole = folder + "/whole.graft"
      let start = ContinuousClock().now
      let run = try GraftProgram.run(arguments(whole, []), environment: environment)
      #expect(run.status == 0, "\(run.errors)")
      let seconds = (ContinuousClock().now - start) / .seconds(1)
      let (old, new) = (try bits(of: bundle), try bits(of: whole))
      #expect(old != new)

      // Every other run writes onto a bundle that is there already.
      let (output, state) = (folder + "/tuned.graft", folder + "/state")
      var random = SplitMix(seed: 11)
      var (kills, finished) = (0, 0)
      func begin() throws {
        for path in [output, state] where FileManager.default.fileExists(atPath: path) {
          try FileManager.default.removeItem(atPath: path)
        }
        if finished.isMultiple(of: 2) {
          try FileManager.default.copyItem(atPath: bundle, toPath: output)
        }
      }
      func check(isDone: Bool) throws {
        guard FileManager.default.fileExists(atPath: output) else {
          #expect(!isDone && !finished.isMultiple(of: 2), "no bundle after \(kills) kills")
          return
        }
        let found = try bits(of: output)
        #expect(found == new || (found == old && !isDone), "after \(kills) kills")
      }
      try begin()
      while kills < 20 {
        let resumes = FileManager.default.fileExists(atPath: state + "/state.safetensors")
        let status = try GraftProgram.kill(
          arguments(output, [resumes ? "--resume" : "--checkpoint", state]),
          after: Double.random(in: 0...seconds, using: &random), environment: environment)
        kills += status == nil ? 1 : 0
        #expect(status == nil || status == 0)
        try check(isDone: status != nil)
        if status != nil {
          finished += 1
          try begin()
        }
      }
      let resumes = FileManager.default.fileExists(atPath: state + "/state.safetensors")
      let last = try GraftProgram.run(
        arguments(output, [resumes ? "--resume" : "--checkpoint", state]), environment: environment)
      #expect(last.status == 0, "\(last.errors)")
      try check(isDone: true)
    }
  }
}
