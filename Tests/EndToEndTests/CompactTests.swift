// Compiling for the least memory: no weights larger than the file's, the same answers.

import Foundation
import Graft
import GraftTesting
import Testing

@Suite struct CompactTests {
  @Test(arguments: ["winograd_residual", "winograd_narrow"])
  func weightsStayAsLargeAsTheyAre(name: String) throws {
    let fixture = try ModelFixture.named(name)
    try withTemporaryFolder { folder in
      var options = Compiler.Options()
      options.target = .native
      let fast = try Compiler(options).compile(fixture.modelPath, to: folder + "/fast.graft")
      options.isCompact = true
      let path = folder + "/compact.graft"
      let compact = try Compiler(options).compile(fixture.modelPath, to: path)

      #expect(fast.programs[0].estimatedSlowdown == 1)
      #expect(compact.programs[0].estimatedSlowdown > 1)
      #expect(compact.programs[0].scratchBytesPerThread < fast.programs[0].scratchBytesPerThread)
      #expect(compact.packedBytes < fast.packedBytes * 3 / 4)
      let bundle = try ModelBundle(opening: path)
      #expect(bundle.manifest.isCompact == true)
      #expect(bundle.manifest.schedule.allSatisfy { !$0.contains("Winograd") })
      try fixture.expectOutputs(Session(bundle, threads: 2).run(fixture.loadInputs()), "compact")
    }
  }

  @Test func theFastChoiceIsNotMarked() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/fast.graft"
      try Compiler().compile(ModelFixture.named("winograd_residual").modelPath, to: path)
      #expect(try ModelBundle(opening: path).manifest.isCompact == nil)
    }
  }

  @Test func theCommandLineSaysWhatItCosts() throws {
    let model = try ModelFixture.named("winograd_residual").modelPath
    try withTemporaryFolder { folder in
      let path = folder + "/net.graft"
      let done = try GraftProgram.run(["compile", model, "-o", path, "--compact", "--tune", "off"])
      #expect(done.status == 0, "\(done.errors)")
      #expect(done.errors.contains("compact: the convolutions are estimated to take 1."))
      #expect(try ModelBundle(opening: path).manifest.isCompact == true)

      let refused = try GraftProgram.run(["compile", model, "-o", path + "2", "--tune", "fast"])
      #expect(refused.status == 64)
      #expect(!FileManager.default.fileExists(atPath: path + "2"))
    }
  }
}
