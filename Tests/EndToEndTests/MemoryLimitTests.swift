// `graft finetune --memory-limit`: what is kept changes, no bit of what is learnt does; and what cannot be
// done in a limit is refused before anything is written.

import Foundation
import GraftData
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

@Suite("Fine-tuning within a limit on memory")
struct MemoryLimitTests {
  /// The embedded ResNet-20 and 24 pictures of noise of three classes.
  private func setting(in folder: String) throws -> (bundle: String, data: String) {
    let (bundle, data) = (folder + "/network.graft", folder + "/data")
    try Compiler().compile(root.appending(path: "models/resnet20-cifar10.onnx").path, to: bundle)
    var random = SplitMix(seed: 7)
    let pixels = (0..<(24 * 3 * 32 * 32)).map { _ in Float.random(in: -1...1, using: &random) }
    try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
    try Data(NPYArray(pixels, shape: [24, 3, 32, 32]).encoded())
      .write(to: URL(filePath: data + "/x.npy"))
    try Data(NPYArray((0..<24).map { Int64($0 % 3) }, shape: [24]).encoded())
      .write(to: URL(filePath: data + "/y.npy"))
    return (bundle, data)
  }

  private func options(_ data: String) -> FineTuner.Options {
    var options = FineTuner.Options(data: data)
    options.unfreeze = .all
    options.normalization = .train
    options.epochs = 2
    options.batchSize = 8
    options.validationSplit = 0.25
    return options
  }

  @Test("whatever is made again, weights, statistics and the optimizer's state have the same bits")
  func sameBits() throws {
    try withTemporaryFolder { folder in
      let (bundle, data) = try setting(in: folder)
      func run(_ name: String, in room: MemoryRoom) throws -> FineTuner {
        var options = options(data)
        options.checkpoint = folder + "/\(name)"
        var tuner = try FineTuner(bundle, options)
        tuner.room = room
        _ = try tuner.run(to: folder + "/\(name).graft")
        return tuner
      }
      let whole = try run("whole", in: MemoryRoom()).measurements
      let least = try run("least", in: .least).measurements
      let half = try run("half", in: MemoryRoom(arena: (whole.arenaBytes + least.arenaBytes) / 2))
        .measurements
      #expect(least.arenaBytes < whole.arenaBytes * 7 / 10)
      #expect(half.arenaBytes <= (whole.arenaBytes + least.arenaBytes) / 2)
      let work = [whole, half, least].map(\.recomputation.multiplyAdds)
      #expect(work[0] < work[1] && work[1] < work[2], "\(work)")
      for name in ["half", "least"] {
        for file in [".graft/weights.safetensors", ".graft/packed.bin"] {
          #expect(
            FileManager.default.contentsEqual(
              atPath: folder + "/whole" + file, andPath: folder + "/\(name)" + file), "\(file)")
        }
        #expect(try states(folder + "/\(name)") == states(folder + "/whole"))
      }
    }
  }

  /// The tensors of a checkpoint's last state; the times of its epochs, in its header, are left out.
  private func states(_ folder: String) throws -> Data {
    let file = try Data(contentsOf: URL(filePath: folder + "/state.safetensors"))
    let length = file.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
    try #require(length < file.count)
    return file.dropFirst(8 + length)
  }

  @Test("a picture that takes more than the limit to decode is named before any work")
  func largePictures() throws {
    try withTemporaryFolder { folder in
      let bundle = folder + "/network.graft"
      var options = Compiler.Options()
      options.preprocessing = "cifar10"
      try Compiler(options).compile(
        root.appending(path: "models/resnet20-cifar10.onnx").path, to: bundle)
      for (name, edge) in [("a/1", 32), ("a/2", 32), ("b/1", 32), ("b/large", 6000)] {
        let url = URL(filePath: folder + "/data/\(name).png")
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        let image = try Image(
          width: edge, height: edge, channels: 3,
          pixels: Array(repeating: 9, count: edge * edge * 3))
        try Data(image.encodedPNG()).write(to: url)
      }
      #expect(Image.decodingByteCount(of: folder + "/data/b/large.png") ?? 0 >= 108_000_000)
      for plan in [[], ["--plan"]] {
        try GraftProgram.expectFailure(
          [
            "finetune", bundle, "--data", folder + "/data", "--epochs", "1", "--memory-limit",
            "100M", "-o", folder + "/tuned.graft",
          ] + plan,
          saying: ["memory limit of 100.0 MB", "large.png", "decoding the largest images"])
      }
    }
  }

  @Test("a limit that can be kept is, and one that cannot names the least and the other levers")
  func limits() throws {
    try withTemporaryFolder { folder in
      let (bundle, data) = try setting(in: folder)
      let arguments = [
        "finetune", bundle, "--data", data, "--unfreeze", "layer3", "--batch-size", "8",
        "--epochs", "1",
      ]
      let before = try FileManager.default.contentsOfDirectory(atPath: folder)
      try GraftProgram.expectFailure(
        arguments + ["--memory-limit", "2M", "-o", folder + "/tuned.graft"],
        saying: ["at least", "memory limit of 2.0 MB", "--batch-size", "--unfreeze"])
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == before)

      let run = try GraftProgram.run(
        arguments + ["--memory-limit", "2G", "--json", "-o", folder + "/tuned.graft"])
      try #require(run.status == 0, "\(run.errors)")
      let report = try JSONDecoder().decode(FineTuner.Report.self, from: Data(run.output.utf8))
      #expect(report.peakBytes <= 2_000_000_000)

      // One estimate: a limit that does not bind does not change it, and it is itself a limit that can be kept.
      func peak(_ limit: String?) throws -> Int {
        let told = try GraftProgram.run(
          arguments + ["--plan", "--json"] + (limit.map { ["--memory-limit", $0] } ?? []))
        try #require(told.status == 0, "\(told.errors)")
        return try JSONDecoder().decode(Forecast.self, from: Data(told.output.utf8)).memory.peak
      }
      let free = try peak(nil)
      #expect((0.95...1.05).contains(Double(try peak("2G")) / Double(free)))
      #expect((0.9...1.1).contains(Double(report.peakBytes) / Double(free)))
      // A rehearsal is the same only to within two percent.
      #expect(try peak("\(free + free / 50)") <= free + free / 50)
      for text in ["-1", "0", "12X", "99999999999G", "K"] {
        let refused = try GraftProgram.run(
          arguments + ["--memory-limit=\(text)", "-o", folder + "/other.graft"])
        #expect(refused.status == 64, "\(text): \(refused.errors)")
      }
    }
  }
}
