// --input-shape several times: which shapes belong together, and what each command does with them.

import Foundation
import GraftTesting
import Testing

/// x [N, 3, h, w] → Conv → Relu → y.
private func resizable() -> ModelFile {
  var model = ModelFile()
  model.input("x", ["N", 3, "h", "w"])
  model.weights("w", [4, 3, 3, 3])
  model.node("Conv", ["x", "w"], ["c"], name: "conv")
  model.node("Relu", ["c"], ["y"], name: "relu")
  model.output("y", ["N", 4, "p", "q"])
  return model
}

private let compiled: Result<Scratch, any Error> = Result {
  let scratch = try Scratch()
  let result = try GraftProgram.run([
    "compile", try scratch.write(resizable().bytes, "net.onnx"), "-o",
    scratch.url("net.graft").path,
    "--input-shape", "x=Nx3x8x8", "--input-shape", "x=Nx3x9x7", "--tune", "off",
  ])
  try #require(result.status == 0, "\(result.errors)")
  for line in ["2 programs for", "  [N,3,8,8]: ", "  [N,3,9,7]: "] {
    #expect(result.errors.contains(line), "\(result.errors)")
  }
  return scratch
}

@Suite("Several input shapes")
struct InputShapeTests {
  private func path(_ name: String = "net.graft") throws -> String {
    try compiled.get().url(name).path
  }

  @Test(
    "shapes that make no programs are wrong usage",
    arguments: [
      (["x=Nx3x8x8", "x=Nx3x8x8"], #"the same shape twice: "x" Nx3x8x8"#),
      (["a=Nx1", "a=Nx2", "b=Nx3", "b=Nx3", "a=Nx1", "b=Nx3"], #"twice: "a" Nx1 with "b" Nx3"#),
      (["a=Nx1", "a=Nx2", "b=Nx3", "c=N", "b=Nx4", "b=Nx5"], #"2 shapes for "a" and 3 for "b""#),
      (["x=Nx3", "x=3xM"], "must have the form"),
    ])
  func usage(_ shapes: [String], _ says: String) throws {
    let scratch = try Scratch()
    let options = shapes.flatMap { ["--input-shape", $0] }
    let result = try GraftProgram.run(
      ["compile", try path("net.onnx"), "-o", scratch.url("b.graft").path] + options)
    #expect(result.status == 64, "\(result.errors)")
    #expect(result.errors.contains(says), "\(result.errors)")
    #expect(scratch.listing.isEmpty)
  }

  @Test("commands that take one program refuse several shapes, and so does a training step")
  func oneProgram() throws {
    let two = ["--input-shape", "x=Nx3x8x8", "--input-shape", "x=Nx3x9x7"]
    let commands = [
      ["dump", try path("net.onnx")], ["export", try path(), "-o", "e.onnx"],
      ["bench", try path()],
    ]
    for command in commands {
      let result = try GraftProgram.run(command + two)
      #expect(result.status == 64, "\(command): \(result.errors)")
      #expect(result.errors.contains("give each input one shape"), "\(result.errors)")
    }
    let trains = ["--trainable", "all", "--classes", "3"]
    let result = try GraftProgram.run(
      ["compile", try path("net.onnx"), "-o", "b.graft"] + two + trains)
    #expect(result.status == 64)
    #expect(result.errors.contains("--trainable needs one set of input shapes"))
    let scratch = try Scratch()
    try GraftProgram.expectFailure(
      ["compile", try path(), "-o", scratch.url("b.graft").path] + trains,
      saying: ["the bundle has 2: [N,3,8,8] and [N,3,9,7]", "Choose one with --input-shape."])
  }

  @Test("dump and export show the first program, or the chosen one")
  func choice() throws {
    let scratch = try Scratch()
    for (options, shape) in [
      ([], "[N,3,8,8]"), (["--input-shape", "x=Nx3x8x8"], "[N,3,8,8]"),
      (["--input-shape", "x=Nx3x9x7"], "[N,3,9,7]"),
    ] {
      let input = "\"x\" = input : f32\(shape)"
      let dump = try GraftProgram.run(["dump", try path(), "--stage", "import"] + options)
      #expect(dump.status == 0 && dump.output.contains(input), "\(dump.output) \(dump.errors)")
      let file = scratch.url("e.onnx").path
      let export = try GraftProgram.run(["export", try path(), "-o", file] + options)
      try #require(export.status == 0, "\(export.errors)")
      let exported = try GraftProgram.run(["dump", file, "--stage", "import"])
      #expect(exported.output.contains(input), "\(exported.output)")
    }
    for command in ["dump", "bench"] {
      try GraftProgram.expectFailure(
        [command, try path(), "--input-shape", "x=Nx3x8x7"],
        saying: [
          "net.graft", #"no program for "x" [N,3,8,7], only for [N,3,8,8] and [N,3,9,7]"#,
          "Compile the ONNX file for other shapes.",
        ])
      try GraftProgram.expectFailure(
        [command, try path(), "--input-shape", "z=Nx3x8x8"],
        saying: [#"there is no input "z"; the inputs are "x""#])
    }
  }

  @Test("JSON of verify and bench says which programs there are")
  func json() throws {
    let verified = try GraftProgram.run(["verify", try path(), "--json"])
    #expect(verified.output.contains("\"programs\" : 2"), "\(verified.output) \(verified.errors)")
    let measured = try GraftProgram.run([
      "bench", try path(), "--json", "--seconds", "0.01", "--input-shape", "x=Nx3x9x7",
    ])
    let parsed = try JSONSerialization.jsonObject(with: Data(measured.output.utf8))
    let inputs = (parsed as? [String: Any])?["inputs"] as? [[String: Any]]
    #expect((inputs?.first?["shape"] as? [Any]).map { "\($0)" } == #"["N", 3, 9, 7]"#)
  }
}
