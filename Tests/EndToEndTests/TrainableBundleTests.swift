// Bundles that train: docs/examples/train_bundle.c, where neither Graft nor a compiler can be found, comes
// to the bits of `graft finetune` on the digits; and libmodel.so holds what libtrain.so takes.

import Foundation
import GraftIR
import GraftTesting
import Testing

@testable import Graft

@Suite struct TrainableBundleTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  private static let model = root.appending(path: "models/resnet20-cifar10.onnx").path

  /// One choice of what trains.
  struct Choice: Sendable, CustomTestStringConvertible {
    var unfreeze: String
    var head: String
    var bn: String
    /// A weight that trains beside the head.
    var tail: String?
    var testDescription: String { "\(unfreeze), \(head), \(bn)" }
  }

  private func graft(_ arguments: [String]) throws {
    let result = try GraftProgram.run(arguments)
    try #require(result.status == 0, "\(arguments.joined(separator: " ")): \(result.errors)")
  }

  /// A folder with `count` digits of each class.
  private func digits(_ count: Int, in folder: String) throws -> String {
    let files = FileManager.default
    let source = Self.root.appending(path: "models/digits/train").path
    for name in (0..<10).map(String.init) {
      let to = folder + "/digits/" + name
      try files.createDirectory(atPath: to, withIntermediateDirectories: true)
      let pictures = try files.contentsOfDirectory(atPath: source + "/" + name).sorted()
      for picture in pictures.prefix(count) {
        try files.copyItem(atPath: "\(source)/\(name)/\(picture)", toPath: to + "/" + picture)
      }
    }
    return folder + "/digits"
  }

  /// Compiles the example against the bundle's own headers, then runs it where PATH holds nothing.
  private func trainFromC(_ bundle: String, _ data: String, in folder: String) throws {
    let compiled = try GraftProgram.run(
      "/usr/bin/env",
      [
        "clang", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", bundle,
        Self.root.appending(path: "docs/examples/train_bundle.c").path, "-ldl", "-o",
        folder + "/train_bundle",
      ])
    try #require(compiled.status == 0, "\(compiled.errors)")
    let result = try GraftProgram.run(
      folder + "/train_bundle",
      [bundle, data, "2", "32", "0.01", "2", folder + "/c.safetensors"],
      environment: ["PATH": folder + "/nothing"])
    try #require(result.status == 0, "\(result.errors)")
    #expect(result.output.contains("epoch 2: loss of the last batch "))
  }

  /// 118 digits in batches of 32: the last batch is a part.
  @Test(arguments: [
    Choice(unfreeze: "none", head: "linear", bn: "frozen"),
    Choice(unfreeze: "layer3", head: "mlp:24", bn: "train", tail: "layer3.0.conv1.weight"),
    Choice(unfreeze: "none", head: "/layer2/layer2.2/relu_1/Relu_output_0", bn: "frozen"),
  ])
  func trainsAsFinetuneDoes(_ choice: Choice) throws {
    try withTemporaryFolder { folder in
      let pictures = try digits(12, in: folder)
      for name in ["0", "7"] {
        let files = try FileManager.default.contentsOfDirectory(atPath: "\(pictures)/\(name)")
        try FileManager.default.removeItem(
          atPath: "\(pictures)/\(name)/\(try #require(files.sorted().last))")
      }
      let shared = ["--head", choice.head, "--bn", choice.bn, "--seed", "0"]
      let (plain, trainable) = (folder + "/net.graft", folder + "/trainable.graft")
      try graft(["compile", Self.model, "-o", plain, "--preprocess", "cifar10", "--tune", "off"])
      try graft(
        [
          "compile", plain, "-o", trainable, "--trainable", choice.unfreeze, "--classes", "10",
          "--tune", "off",
        ] + shared)
      try graft(["verify", trainable])
      try graft(["preprocess", trainable, "--data", pictures, "--output-dir", folder + "/data"])
      try trainFromC(trainable, folder + "/data", in: folder)
      try graft(
        [
          "finetune", plain, "--data", pictures, "-o", folder + "/tuned.graft", "--val-split", "0",
          "--schedule", "constant", "--epochs", "2", "--batch-size", "32", "--lr", "0.01",
          "--unfreeze", choice.unfreeze, "--checkpoint", folder + "/state",
        ] + shared)

      let found = try Safetensors.read(folder + "/c.safetensors")
      let expected = try Safetensors.read(folder + "/state/state.safetensors")
      let first = try Safetensors.read(trainable + "/" + BundleLayout.weights)
      let tuned = try Safetensors.read(folder + "/tuned.graft/" + BundleLayout.weights)
      let training = try #require(try ModelBundle(opening: trainable).manifest.training)
      #expect(found.keys.sorted() == expected.keys.sorted())
      #expect(found.keys.sorted() == training.states.map(\.name).sorted())
      for state in training.states {
        let bytes = try #require(found[state.name]).bytes
        #expect(bytes == expected[state.name]?.bytes, "\(state.name) is not finetune's")
        guard state.role == "weight" else { continue }
        #expect(bytes == tuned[state.name]?.bytes, "\(state.name) is not the tuned bundle's")
        #expect(bytes != first[state.name]?.bytes, "\(state.name) did not train")
      }
      let weights = training.states.filter { $0.role == "weight" }.map(\.name)
      #expect(weights.contains(choice.head.hasPrefix("/") ? "head.weight" : "fc.weight"))
      if let tail = choice.tail { #expect(weights.contains(tail)) }
    }
  }

  /// The freeze line lies between a convolution and its BatchNorm, beside a shortcut: both values are
  /// there, and they are those of the reference evaluator.
  @Test func holdsWhatFusionWouldSwallow() throws {
    try withTemporaryFolder { folder in
      let bundle = folder + "/net.graft"
      try graft([
        "compile", Self.model, "-o", bundle, "--preprocess", "cifar10", "--trainable",
        "layer3.2.bn2", "--head", "keep", "--optimizer", "adamw", "--tune", "off",
      ])
      let opened = try ModelBundle(opening: bundle)
      try opened.verify()
      let training = try #require(opened.manifest.training)
      #expect(training.cut.count == 2)
      #expect(training.groups == ["head", "tail"])
      let input = try #require(opened.manifest.inputs.first).name
      let pixels: [Float] = (0..<6144).map { index in
        Float(index * 7919 % 1009) / 504.5 - 1
      }
      let x = try Tensor(shape: [2, 3, 32, 32], elements: pixels)
      func values(_ mode: TensorRunner.Mode) throws -> [String: Tensor] {
        try TensorRunner(opened, mode: mode).run([input: x], keepingValues: true).values
      }
      let found = try values(.compiled(threads: 2))
      let expected = try values(.reference)
      for value in training.cut {
        let a = try #require(found[value.name], "\(value.name)")
        let b = try #require(expected[value.name], "\(value.name)")
        #expect(a.shape == b.shape && a.shape.count == 4)
        let largest = b.elements.map { abs($0) }.max() ?? 0
        let worst = zip(a.elements, b.elements).map { abs($0 - $1) }.max() ?? .nan
        #expect(largest > 0 && worst <= 1e-5 * largest, "\(value.name): \(worst) of \(largest)")
      }
    }
  }

  @Test func theLibraryNeedsOnlyTheSystem() throws {
    try withTemporaryFolder { folder in
      let bundle = folder + "/net.graft"
      try graft([
        "compile", Self.model, "-o", bundle, "--preprocess", "cifar10", "--trainable", "none",
        "--classes", "3", "--tune", "off",
      ])
      let result = try GraftProgram.run("/usr/bin/ldd", [bundle + "/libtrain.so"])
      let names = result.output.split(separator: "\n").compactMap { line in
        line.split(whereSeparator: \.isWhitespace).first.map {
          URL(filePath: String($0)).lastPathComponent
        }
      }
      #expect(names.contains("libc.so.6"))
      for name in names {
        #expect(
          ["libc.so.6", "libm.so.6", "linux-vdso.so.1"].contains(name)
            || name.hasPrefix("ld-linux"), "\(name)")
      }
      for name in ["libtrain.so", "train.bin", "graft_train.h"] {
        let url = URL(filePath: "\(bundle)/\(name)")
        let good = try Data(contentsOf: url)
        var bad = good
        bad[bad.count / 2] ^= 1
        try bad.write(to: url)
        let verified = try GraftProgram.run(["verify", bundle])
        #expect(verified.status == 1 && verified.errors.contains(name), "\(verified.errors)")
        try good.write(to: url)
      }
    }
  }
}

extension TensorData {
  fileprivate var bytes: [UInt8] { withUnsafeBytes { Array($0) } }
}
