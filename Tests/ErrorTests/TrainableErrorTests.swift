import Foundation
import GraftTesting
import Testing

private let resnet = fixtures.deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().appending(path: "models/resnet20-cifar10.onnx").path

@Suite("Training steps that cannot be made")
struct TrainableErrorTests {
  @Test(
    "a bad choice ends in status 1, a message that names it, and no output",
    arguments: [
      (["--trainable", "none"], ["--classes N or --labels FILE"]),
      (["--trainable", "layer4", "--classes", "3"], ["\"layer4\"", "layer3"]),
      (["--trainable", "last:99", "--classes", "3"], ["last:99"]),
      (["--trainable", "none", "--classes", "1"], ["found 1"]),
      (["--trainable", "none", "--classes", "0"], ["found 0"]),
      (["--trainable", "none", "--head", "keep", "--classes", "3"], ["10 classes", "says 3"]),
    ])
  func badChoice(_ options: [String], _ says: [String]) throws {
    let scratch = try Scratch()
    try GraftProgram.expectFailure(
      ["compile", resnet, "-o", scratch.url("out.graft").path] + options, saying: says,
      options.joined(separator: " "))
    #expect(scratch.listing.isEmpty)
  }

  @Test(
    "options that belong to --trainable are wrong usage without it, and so are words that none takes",
    arguments: [
      ["--classes", "3"], ["--head", "keep"], ["--bn", "train"], ["--optimizer", "adam"],
      ["--seed", "1"], ["--trainable", "none", "--bn", "no"],
      ["--trainable", "none", "--optimizer", "no"],
      ["--classes", "3", "--trainable", "last:0"], ["--trainable", "none", "--head", "mlp:0"],
    ])
  func wrongUsage(_ options: [String]) throws {
    let scratch = try Scratch()
    let outcome = try GraftProgram.run(
      ["compile", resnet, "-o", scratch.url("out.graft").path] + options)
    #expect(outcome.status == 64, "\(outcome.errors)")
    #expect(
      outcome.errors.contains(options[options.count - 2])
        || outcome.errors.contains(options[options.count - 1]), "\(outcome.errors)")
    #expect(scratch.listing.isEmpty)
  }
}
