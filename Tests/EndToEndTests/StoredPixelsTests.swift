// Pictures that are kept for training where nothing is frozen: one byte a value, without a changed bit.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@testable import GraftTraining

@Suite("Stored pixels")
struct StoredPixelsTests {
  /// A specification with other numbers in every channel.
  private static func specification(
    _ color: Preprocessing.Color, _ layout: Preprocessing.Layout, scale: Double
  ) throws -> Preprocessing {
    let channels = color.channels
    return try Preprocessing(
      resize: nil, crop: nil, color: color, layout: layout, scale: scale,
      mean: (0..<channels).map { 0.1 + 0.3 * Double($0) },
      std: (0..<channels).map { 0.2 + 0.05 * Double($0) })
  }

  @Test(
    "Every pixel in every order of channels comes back with its bits, from memory and from a file",
    arguments: [Preprocessing.Color.rgb, .bgr, .gray], [Preprocessing.Layout.nchw, .nhwc])
  func bits(_ color: Preprocessing.Color, _ layout: Preprocessing.Layout) throws {
    // The last scale is so small that many pixels have the same value.
    for scale in [1.0 / 255, -1, 1e-9] {
      let preprocessor = Preprocessor(try Self.specification(color, layout, scale: scale))
      let pixels = (0..<(16 * 16 * color.channels)).map { UInt8(truncatingIfNeeded: $0 * 7) }
      let row = try preprocessor.tensor(
        of: Image(width: 16, height: 16, channels: color.channels, pixels: pixels)
      ).values
      let forms = [
        RowForm(width: row.count, coding: preprocessor.coder.coding), RowForm(width: 3),
        RowForm(width: 4, coding: .numbers),
      ]
      #expect(FeatureStore.byteCount(items: 2, forms: forms) == 2 * (row.count + 12 + 4))
      for largest in [FeatureStore.largestInMemory, 0] {
        let store = try FeatureStore(items: 2, forms: forms, inMemory: largest)
        for (kind, values) in [row, [0.5, -1, .pi], [0, 255, 7, 9]].enumerated() {
          try store.write(values[...], to: 1, kind: kind)
        }
        let back = try store.gather([1])
        #expect(back[0].map(\.bitPattern) == row.map(\.bitPattern))
        #expect(Array(back[1...]) == [[0.5, -1, .pi], [0, 255, 7, 9]])
      }
    }
  }

  @Test func aValueThatIsNoPixelIsRefused() throws {
    let preprocessor = Preprocessor(try Self.specification(.gray, .nchw, scale: 1))
    let store = try FeatureStore(
      items: 1, forms: [RowForm(width: 1, coding: preprocessor.coder.coding)])
    for value: Float in [0, -1e9, 1e9, .nan] {
      let error = #expect(throws: GraftError.self) { try store.write([value], to: 0, kind: 0) }
      #expect(error?.message.contains("is not the value of a pixel") == true)
    }
  }

  @Test("A run on pictures gives the bits of a run on their tensors, with a quarter of the memory")
  func run() throws {
    let folder = try TemporaryFolder()
    let root = URL(filePath: #filePath).deletingLastPathComponent()
    let bundle = folder.path + "/network.graft"
    var compiler = Compiler.Options()
    compiler.preprocessing = "imagenet"
    compiler.tuning = .off
    try Compiler(compiler).compile(
      root.appending(path: "Fixtures/training/network.onnx").path, to: bundle)
    var random = SplitMix(seed: 5)
    for number in 0..<12 {
      let own = folder.path + "/pictures/\(number % 4)"
      try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
      let picture = try Image(
        width: 12, height: 11, channels: 3,
        pixels: (0..<(12 * 11 * 3)).map { _ in UInt8.random(in: 0...255, using: &random) })
      try Data(picture.encodedPNG()).write(to: URL(filePath: own + "/\(number).png"))
    }
    var writer = try DataWriter(ModelBundle(opening: bundle))
    _ = try writer.write(
      folder.path + "/pictures", to: folder.path + "/tensors", threads: 1)
    func outcome(_ data: String, _ room: MemoryRoom) throws -> (
      weights: [String: [Float]], notes: String
    ) {
      var options = FineTuner.Options(data: folder.path + "/" + data)
      options.unfreeze = .all
      options.epochs = 2
      options.batchSize = 5
      options.validationSplit = 0
      options.checkpoint = folder.path + "/" + UUID().uuidString
      var tuner = try FineTuner(bundle, options)
      tuner.room = room
      var notes = ""
      let output = folder.path + "/\(UUID().uuidString).graft"
      _ = try tuner.run(to: output) { if case .note(let text) = $0 { notes += text + "\n" } }
      return (try trainedWeights(of: output), notes)
    }
    let tensors = try outcome("tensors", MemoryRoom())
    let memory = try outcome("pictures", MemoryRoom())
    let file = try outcome("pictures", .least)
    #expect(memory.weights == tensors.weights && file.weights == tensors.weights)
    let shape = try NPYArray(contentsOf: folder.path + "/tensors/x.npy").shape
    let count = shape.reduce(1, *)
    #expect(tensors.notes.contains("12 items, \((4 * count).asBytes) of frozen features"))
    #expect(memory.notes.contains("12 items, \(count.asBytes) of frozen features"))
  }
}
