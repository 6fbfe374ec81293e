// Fine-tuning that cannot be done, through the real executable: status 1, a message that says why, and
// nothing written.

import Foundation
import GraftTesting
import Testing

private let training = fixtures.appending(path: "training")
private let digits = repository.appending(path: "models/digits/train")

@Suite("Fine-tuning that cannot be done")
struct FineTuneErrorTests {
  /// Compiles a network into `scratch`.
  private func compile(_ model: String, _ scratch: Scratch) throws -> String {
    let bundle = scratch.url("network.graft").path
    let result = try GraftProgram.run([
      "compile", model, "-o", bundle, "--preprocess", "cifar10", "--tune", "off",
    ])
    #expect(result.status == 0, "\(result.errors)")
    return bundle
  }

  /// A network of one 3×3 convolution, an operator, a global mean and a gemm.
  private func network(_ operation: (inout ModelFile) -> Void) -> ModelFile {
    var model = ModelFile()
    model.input("x", ["N", 3, 12, 12])
    model.output("y", ["N", 2])
    model.weights("first.weight", [4, 3, 3, 3], value: 0.01)
    model.weights("second.weight", [4, 4, 3, 3], value: 0.01)
    model.weights("third.weight", [4, 4, 3, 3], value: 0.01)
    model.weights("fc.weight", [4, 2])
    model.node("Conv", ["x", "first.weight"], ["a"], name: "first")
    operation(&model)
    model.node("Conv", ["b", "second.weight"], ["c"], name: "second")
    model.node("Conv", ["c", "third.weight"], ["d"], name: "third")
    model.node("GlobalAveragePool", ["d"], ["e"], name: "pool")
    model.node("Flatten", ["e"], ["f"], name: "flatten")
    model.node("MatMul", ["f", "fc.weight"], ["y"], name: "fc")
    return model
  }

  @Test("an operator without a gradient in the tail is named, with the freeze lines behind it")
  func noGradient() throws {
    let scratch = try Scratch()
    let model = network { model in
      model.weights("zero", [1], value: 0)
      model.node("Greater", ["a", "zero"], ["positive"], name: "compare")
      model.node(
        "Cast", ["positive"], ["b"], name: "cast", attributes: [ModelFile.attribute("to", int: 1)])
    }
    let bundle = try compile(try scratch.write(model.bytes, "network.onnx"), scratch)
    let before = scratch.listing
    try GraftProgram.expectFailure(
      [
        "finetune", bundle, "--data", training.path, "--unfreeze", "all", "-o",
        scratch.url("tuned.graft").path,
      ], saying: ["\"compare\"", "greater has no gradient", "--unfreeze none, or last:1 to last:2"])
    #expect(scratch.listing == before)
    let result = try GraftProgram.run([
      "finetune", bundle, "--data", training.path, "--unfreeze", "last:2", "--epochs", "1",
      "--batch-size", "4", "--lr", "1e-8", "-o", scratch.url("tuned.graft").path,
    ])
    #expect(result.status == 0, "\(result.errors)")
  }

  @Test("a network with no weights in its head")
  func noWeights() throws {
    let scratch = try Scratch()
    var model = ModelFile()
    model.input("x", ["N", 3, 12, 12])
    model.output("y", ["N", 3])
    model.node("GlobalAveragePool", ["x"], ["a"], name: "pool")
    model.node("Flatten", ["a"], ["y"], name: "flatten")
    let bundle = try compile(try scratch.write(model.bytes, "network.onnx"), scratch)
    let before = scratch.listing
    try GraftProgram.expectFailure(
      ["finetune", bundle, "--data", training.path, "-o", scratch.url("tuned.graft").path],
      saying: ["the network has no operator with weights before its output"])
    #expect(scratch.listing == before)
  }

  @Test("a class folder without a picture is named")
  func emptyClass() throws {
    let scratch = try Scratch()
    let bundle = try compile(training.appending(path: "network.onnx").path, scratch)
    let files = FileManager.default
    try files.createDirectory(at: scratch.url("data"), withIntermediateDirectories: true)
    for name in ["0", "1"] {
      try files.copyItem(at: digits.appending(path: name), to: scratch.url("data/\(name)"))
    }
    try files.createDirectory(at: scratch.url("data/none"), withIntermediateDirectories: true)
    try Data("not a picture".utf8).write(to: scratch.url("data/none/notes.txt"))
    let before = scratch.listing
    try GraftProgram.expectFailure(
      [
        "finetune", bundle, "--data", scratch.url("data").path, "-o",
        scratch.url("tuned.graft").path,
      ], saying: ["classes without images: \"none\"", "Remove the folder"])
    #expect(scratch.listing == before)
  }

  /// Whether a small file system of one's own can be had, to fill it.
  private static let canMount =
    (try? GraftProgram.run(
      "/usr/bin/env", ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    ).status) == 0

  @Test(
    "a full disk while a checkpoint is written",
    .enabled(if: canMount, "no file system of our own to fill"))
  func fullDisk() throws {
    let scratch = try Scratch()
    let bundle = try compile(training.appending(path: "network.onnx").path, scratch)
    let folder = scratch.url("small")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let graft = try GraftProgram.locate()
    let script = """
      mount -t tmpfs -o size=4k none '\(folder.path)' || exit 99
      '\(graft)' finetune '\(bundle)' --data '\(training.path)' --head keep --unfreeze all \
        --batch-size 4 --checkpoint '\(folder.path)' -o '\(scratch.url("tuned.graft").path)' \
        2>'\(scratch.url("stderr").path)'
      status=$?
      ls -A '\(folder.path)' >'\(scratch.url("left").path)'
      exit $status
      """
    let status = try GraftProgram.run("/usr/bin/env", ["unshare", "-rm", "sh", "-c", script]).status
    let errors = try String(contentsOf: scratch.url("stderr"), encoding: .utf8)
    #expect(status == 1, "\(errors)")
    #expect(errors.contains("No space left"), "\(errors)")
    #expect(errors.contains("small"), "\(errors)")
    #expect(try String(contentsOf: scratch.url("left"), encoding: .utf8).isEmpty)
    #expect(!FileManager.default.fileExists(atPath: scratch.url("tuned.graft").path))
  }
}
