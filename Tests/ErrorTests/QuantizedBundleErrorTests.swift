// Bundles on bytes whose record of ranges is damaged, hostile, or does not fit the network.

import Foundation
import Graft
import GraftTesting
import Testing

/// A network of a few convolutions on bytes.
private let compiled: Result<Scratch, any Error> = Result { try compile() }

private func compile() throws -> Scratch {
  let scratch = try Scratch()
  let data = scratch.url("tensors").path
  try TensorFiles.write(
    ["image": try Tensor(shape: [2, 3, 13, 10], elements: (0..<780).map { Float($0) / 780 })],
    to: data)
  let outcome = try GraftProgram.run([
    "compile", fixtures.appending(path: "winograd_residual.onnx").path, "-o",
    scratch.url("int8.graft").path, "--tune", "off", "--precision", "int8", "--calibrate",
    data + "/image.npy",
  ])
  try #require(outcome.status == 0, "\(outcome.errors)")
  return scratch
}

@Suite("Bundles on bytes that are damaged")
struct QuantizedBundleErrorTests {
  private func copy(into scratch: Scratch) throws -> URL {
    let bundle = scratch.url("copy.graft")
    try FileManager.default.copyItem(at: try compiled.get().url("int8.graft"), to: bundle)
    return bundle
  }

  @Test("ranges that are no ranges, or of no value, are named by verify and stop a recompilation")
  func ranges() throws {
    let cases: [(String, [String])] = [
      ("", ["damaged"]), ("[]", ["wrong type"]), ("{", ["damaged"]),
      (#"{"x":[0,1,2]}"#, ["\"x\"", "two finite numbers"]), (#"{"x":[1]}"#, ["two finite numbers"]),
      (#"{"x":[2,1]}"#, ["ascending"]), (#"{"x":[0,1e39]}"#, ["finite"]),
      (#"{"x":[0,1e999]}"#, ["damaged"]), (#"{"x":[0,NaN]}"#, ["damaged"]),
      (#"{"x":["0","1"]}"#, ["wrong type"]), (#"{"x":{}}"#, ["wrong type"]),
      (String(repeating: "[", count: 100_000), ["damaged"]),
    ]
    for (text, says) in cases {
      let scratch = try Scratch()
      let bundle = try copy(into: scratch)
      try Data(text.utf8).write(to: bundle.appending(path: "ranges.json"))
      try mend(bundle)
      try GraftProgram.expectFailure(
        ["verify", bundle.path], saying: ["ranges.json"] + says, String(text.prefix(40)))
      try GraftProgram.expectFailure(
        ["compile", bundle.path, "-o", scratch.url("out.graft").path],
        saying: ["ranges.json"] + says, String(text.prefix(40)))
      #expect(!scratch.listing.contains("out.graft"))
    }
    // What the error advises helps.
    let broken = try Scratch()
    let damaged = try copy(into: broken)
    try Data("{".utf8).write(to: damaged.appending(path: "ranges.json"))
    let mended = try GraftProgram.run([
      "compile", damaged.path, "-o", broken.url("out.graft").path, "--precision", "float32",
      "--tune", "off",
    ])
    #expect(mended.status == 0, "\(mended.errors)")
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    try Data(#"{"nothing":[0,1]}"#.utf8).write(to: bundle.appending(path: "ranges.json"))
    try mend(bundle)
    try GraftProgram.expectFailure(
      ["verify", bundle.path], saying: ["ranges.json", "\"nothing\"", "no value of the network"])
  }

  @Test("a manifest whose quantization no compiler writes")
  func manifest() throws {
    func entry(_ precision: String, _ items: Int, _ kept: [[String: String]] = []) -> [String: Any]
    {
      ["precision": precision, "calibrator": "minmax", "items": items, "kept": kept]
    }
    let kept = ["layer": "a", "value": "nothing", "reason": "b"]
    let changes: [(String, (inout [String: Any]) -> Void)] = [
      ("float32", { $0["quantization"] = entry("float32", 1) }),
      ("quantization.precision", { $0["quantization"] = entry("int3", 1) }),
      ("0 items", { $0["quantization"] = entry("int8", 0) }),
      ("nothing", { $0["quantization"] = entry("int8", 1, [kept]) }),
      ("no quantization", { $0["quantization"] = nil }),
    ]
    for (fragment, change) in changes {
      let scratch = try Scratch()
      let bundle = try copy(into: scratch)
      try mend(bundle, change)
      try GraftProgram.expectFailure(["verify", bundle.path], saying: [fragment], fragment)
    }
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    try FileManager.default.removeItem(at: bundle.appending(path: "ranges.json"))
    try mend(bundle)
    try GraftProgram.expectFailure(["verify", bundle.path], saying: ["ranges.json", "missing"])
    try GraftProgram.expectFailure(
      ["compile", bundle.path, "-o", scratch.url("out.graft").path], saying: ["ranges.json"])
  }

  @Test("values without a range stay float32 with a warning, and all of them are an error")
  func missingRanges() throws {
    let scratch = try Scratch()
    let bundle = try copy(into: scratch)
    let url = bundle.appending(path: "ranges.json")
    let parsed = try JSONSerialization.jsonObject(with: try Data(contentsOf: url))
    var ranges = try #require(parsed as? [String: Any])
    let input = try #require(ranges["image"])
    ranges["image"] = nil
    try JSONSerialization.data(withJSONObject: ranges).write(to: url)
    try mend(bundle)
    let out = scratch.url("out.graft").path
    let done = try GraftProgram.run(["compile", bundle.path, "-o", out, "--tune", "off"])
    #expect(done.status == 0, "\(done.errors)")
    #expect(done.errors.contains("no range for 1 value") && done.errors.contains("--calibrate"))
    #expect(try GraftProgram.run(["verify", out, "--json"]).output.contains("int8"))

    try JSONSerialization.data(withJSONObject: ["input of nothing": input]).write(to: url)
    try mend(bundle)
    let count = ranges.count + 1
    try GraftProgram.expectFailure(
      ["compile", bundle.path, "-o", scratch.url("none.graft").path],
      saying: ["none of the layers", "\(count) of its values", "--calibrate"])
  }

  @Test("a float32 bundle has no ranges to take, and a training step none to have")
  func noRanges() throws {
    let scratch = try Scratch()
    let wide = scratch.url("wide.graft").path
    let bundle = try copy(into: scratch).path
    let done = try GraftProgram.run([
      "compile", bundle, "-o", wide, "--precision", "float32", "--tune", "off",
    ])
    #expect(done.status == 0, "\(done.errors)")
    try GraftProgram.expectFailure(
      ["compile", wide, "-o", scratch.url("out.graft").path, "--precision", "int8"],
      saying: ["records none", "--calibrate"])
    try GraftProgram.expectFailure(
      [
        "compile", bundle, "-o", scratch.url("out.graft").path, "--trainable", "last:1",
        "--classes", "3",
      ], saying: ["training step computes in float32", "--precision float32"])
    let kept = try GraftProgram.run([
      "compile", bundle, "-o", scratch.url("kept.graft").path, "--precision", "int8", "--tune",
      "off",
    ])
    #expect(kept.status == 0 && kept.errors.contains("as the bundle records"), "\(kept.errors)")
  }
}
