// Bundles whose digests fit what stands in them, though the parts do not belong together: what a careless
// copy or a repair by hand leaves. `verify` says so, and whatever it lets pass ends in no signal.

import Foundation
import GraftTesting
import Testing

private func compile(_ model: ModelFile, to name: String, in scratch: Scratch) throws {
  let outcome = try GraftProgram.run([
    "compile", try scratch.write(model.bytes, name + ".onnx"), "-o", scratch.url(name).path,
    "--preprocess", "none", "--tune", "off",
  ])
  try #require(outcome.status == 0, "\(outcome.errors)")
}

/// Two networks of the same input.
private let compiled: Result<Scratch, any Error> = Result {
  let scratch = try Scratch()
  var other = ModelFile.convolution()
  other.graph.removeLast()
  other.node("Tanh", ["y"], ["z"])
  other.output("z", ["N", 4, 6, 6])
  try compile(ModelFile.convolution(), to: "good", in: scratch)
  try compile(other, to: "other", in: scratch)
  return scratch
}

@Suite("Bundles with mended digests")
struct MendedDigestTests {
  private func copy(into scratch: Scratch) throws -> URL {
    let bundle = scratch.url("copy.graft")
    try FileManager.default.copyItem(at: try compiled.get().url("good"), to: bundle)
    return bundle
  }

  private func expect(_ fragments: [String], _ change: (URL) throws -> Void) throws {
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    try change(bundle)
    try mend(bundle)
    try GraftProgram.expectFailure(["verify", bundle.path], saying: fragments)
  }

  @Test("mending alone changes nothing")
  func mendedIsGood() throws {
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    try mend(bundle)
    let result = try GraftProgram.run(["verify", bundle.path])
    #expect(result.status == 0, "\(result.errors)")
  }

  @Test("packed weights that are empty, cut or another build's; another network's library")
  func foreignParts() throws {
    let other = try compiled.get().url("other")
    func replace(_ names: String...) -> (URL) throws -> Void {
      { bundle in
        for name in names {
          try Data(contentsOf: other.appending(path: name)).write(to: bundle.appending(path: name))
        }
      }
    }
    try expect(["packed.bin", "0 bytes"]) { try Data().write(to: $0.appending(path: "packed.bin")) }
    try expect(["packed.bin", "expects"]) { bundle in
      let url = bundle.appending(path: "packed.bin")
      try Data(contentsOf: url).dropLast(64).write(to: url)
    }
    try expect(["packed.bin", "another build"], replace("packed.bin"))
    try expect(["packed.bin", "another build"], replace("libmodel.so"))
    try expect(["libmodel.so", "another bundle"], replace("packed.bin", "libmodel.so"))
  }

  @Test("weights that are no numbers, and bytes that belong to no tensor")
  func weights() throws {
    func weights(
      _ change: @escaping (inout Data, _ start: Int) -> Void
    ) -> (URL) throws -> Void {
      { bundle in
        let url = bundle.appending(path: "weights.safetensors")
        var data = try Data(contentsOf: url)
        let length = data.prefix(8).enumerated().reduce(0) {
          $0 | Int($1.element) << (8 * $1.offset)
        }
        change(&data, 8 + length)
        try data.write(to: url)
      }
    }
    try expect(
      ["weights.safetensors", "not a number"],
      weights { data, start in data.replaceSubrange(start..<(start + 4), with: [0, 0, 0xc0, 0x7f]) }
    )
    try expect(
      ["weights.safetensors", "4 bytes after"], weights { data, _ in data += [0, 0, 0, 0] })
  }

  @Test("a manifest that is not this network's")
  func manifest() throws {
    let changes: [(String, (inout [String: Any]) -> Void)] = [
      ("avx1024", { $0["target"] = ["name": "generic", "features": ["avx1024"], "lanes": 4] }),
      ("z80", { $0["target"] = ["name": "z80", "features": [], "lanes": 4] as [String: Any] }),
      ("3 labels", { $0["labels"] = ["a", "b", "c"] }),
      ("steps", { $0["schedule"] = ["one"] }),
      ("batch", { $0["has_free_batch"] = false }),
    ]
    for (fragment, change) in changes {
      let scratch = try Scratch()
      let bundle = try copy(into: scratch)
      try mend(bundle, change)
      try GraftProgram.expectFailure(["verify", bundle.path], saying: ["manifest.json", fragment])
    }
  }

  /// The headers and the tables of segments and sections are what the loader believes.
  @Test("a library that is cut short or whose headers are damaged ends in no signal")
  func damagedLibraries() throws {
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    let url = bundle.appending(path: "libmodel.so")
    let good = try Data(contentsOf: url)
    var random = SplitMix(seed: 7)
    for round in 0..<24 {
      var bad = good
      if round.isMultiple(of: 2) {
        bad = good.prefix(Int(random.next() % UInt64(good.count)))
      } else {
        let sections = good[40..<48].enumerated().reduce(0) {
          $0 | Int($1.element) << (8 * $1.offset)
        }
        let place = round % 4 == 1 ? Int(random.next() % 400) : sections + Int(random.next() % 1500)
        if place < bad.count { bad[place] ^= UInt8(1 << (random.next() % 8)) }
      }
      try bad.write(to: url)
      try mend(bundle)
      let verified = try GraftProgram.run(["verify", bundle.path])
      #expect(verified.status <= 1, "round \(round): \(verified.errors)")
      if round.isMultiple(of: 2) { #expect(verified.status == 1, "\(bad.count) bytes pass") }
      let ran = try GraftProgram.run(["bench", bundle.path, "--seconds", "0.01"])
      #expect(ran.status <= 1, "round \(round): \(ran.errors)")
    }
  }
}
