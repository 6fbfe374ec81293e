import Foundation
import Graft
import GraftTesting
import Testing

/// Calibration data and options that cannot be right, each refused with its cause and no output.
@Suite("Quantization that cannot be done")
struct QuantizationErrorTests {
  /// A network of a few convolutions whose input is [N, 3, 13, 10].
  private func compile(_ scratch: Scratch, _ options: [String]) -> [String] {
    [
      "compile", fixtures.appending(path: "winograd_residual.onnx").path, "-o",
      scratch.url("out.graft").path, "--tune", "off",
    ] + options
  }

  @Test(
    "options that do not go together are wrong usage",
    arguments: [
      ["--precision", "int8"], ["--calibrate", "data"], ["--precision", "int4"],
      ["--precision", "int8", "--calibrate", "data", "--calibrator", "best"],
      ["--precision", "int8", "--calibrate", "data", "--trainable", "last:1", "--classes", "3"],
      ["--precision", "auto", "--trainable", "last:1", "--classes", "3"],
      ["--precision", "auto", "--max-drop", "1"],
      ["--data", "data"], ["--precision", "float32", "--data", "data"],
      ["--precision", "int8", "--calibrate", "data", "--max-drop", "1"],
      ["--precision", "int8", "--calibrate", "data", "--data", "data", "--max-drop", "101"],
      ["--precision", "int8", "--calibrate", "data", "--data", "data", "--max-drop", "nan"],
    ])
  func wrongUsage(_ options: [String]) throws {
    let scratch = try Scratch()
    let outcome = try GraftProgram.run(compile(scratch, options))
    #expect(outcome.status == 64, "\(outcome.errors)")
    #expect(scratch.listing.isEmpty)
  }

  private func tensor(_ scratch: Scratch, _ shape: [Int], _ elements: [Float]) throws -> String {
    let folder = scratch.url("tensors").path
    try TensorFiles.write(["x": try Tensor(shape: shape, elements: elements)], to: folder)
    return folder + "/x.npy"
  }

  @Test("nothing to calibrate with, or what the network cannot take, is an error that names it")
  func badData() throws {
    let scratch = try Scratch()
    try FileManager.default.createDirectory(
      at: scratch.url("empty"), withIntermediateDirectories: true)
    let none = try tensor(scratch, [0, 3, 13, 10], [])
    let cases: [(String, [String])] = [
      (scratch.url("absent").path, ["absent"]), (scratch.url("empty").path, ["empty"]),
      (none, ["x.npy", "nothing to calibrate with"]),
    ]
    for (data, says) in cases {
      try GraftProgram.expectFailure(
        compile(scratch, ["--precision", "int8", "--calibrate", data]), saying: says, data)
      #expect(!scratch.listing.contains("out.graft"))
    }
    try GraftProgram.expectFailure(
      [
        "compile", resnet20.path, "-o", scratch.url("out.graft").path, "--precision", "int8",
        "--calibrate", repository.appending(path: "models/digits/train").path,
      ], saying: ["digits/train", "no preprocessing for images", "--preprocess"])
    let other = try Scratch()
    let shape = try tensor(other, [2, 3, 16, 16], Array(repeating: 0, count: 1536))
    try GraftProgram.expectFailure(
      compile(other, ["--precision", "int8", "--calibrate", shape]), saying: ["x.npy", "16"])
  }

  @Test("data that cannot tell the accuracy are an error that names them")
  func badAccuracyData() throws {
    let scratch = try Scratch()
    let data = try tensor(scratch, [2, 3, 13, 10], (0..<780).map { Float($0) / 780 })
    let int8 = ["--precision", "int8", "--calibrate", data, "--data"]
    // Its output is an image of features.
    try GraftProgram.expectFailure(
      compile(scratch, int8 + [scratch.url("tensors").path]), saying: ["\"features\"", "position"])
    let digits = repository.appending(path: "models/digits/train").path
    for (folder, says) in [
      (scratch.url("absent").path, "absent"), (scratch.url("tensors").path, "does not match"),
    ] {
      try GraftProgram.expectFailure(
        [
          "compile", resnet20.path, "-o", scratch.url("out.graft").path, "--preprocess", "cifar10",
          "--precision", "int8", "--calibrate", digits, "--data", folder,
        ], saying: [says])
    }
    #expect(!scratch.listing.contains("out.graft"))
  }

  @Test("one picture is enough, constant ones too, and infinite numbers leave layers in float32")
  func poorData() throws {
    for value in [Float(0.5), .infinity] {
      let scratch = try Scratch()
      let data = try tensor(scratch, [1, 3, 13, 10], Array(repeating: value, count: 390))
      let outcome = try GraftProgram.run(
        compile(scratch, ["--precision", "int8", "--calibrate", data, "--explain"]))
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(
        outcome.output.contains("layers on bytes") == value.isFinite,
        "\(outcome.output.suffix(600))")
      #expect(value.isFinite || outcome.errors.contains("infinite numbers or NaN"))
      #expect(try GraftProgram.run(["verify", scratch.url("out.graft").path]).status == 0)
    }
  }
}
