// Accuracy control: the layer that int8 harms is found and stays float32, and only that one.

import Foundation
import GraftTesting
import Testing

@testable import Graft

/// A classifier with one layer that int8 harms, and data that float32 classifies without an error.
struct HarmedModel {
  let model: String
  let data: String

  private static let items = 300

  init(in folder: String) throws {
    model = folder + "/model.onnx"
    data = folder + "/data"
    var random = SplitMix(seed: 12)
    let pixels = (0..<Self.items * 4).flatMap { _ -> [Float] in
      let mean = random.number(in: -1...1) as Float
      return (0..<36).map { _ in mean + 0.2 * random.number(in: -1...1) }
    }
    let x = try Tensor(shape: [Self.items, 4, 6, 6], elements: pixels)
    func scores(bias: [Float]) throws -> [[Float]] {
      try Data(Self.file(bias: bias).bytes).write(to: URL(filePath: model))
      try Compiler().compile(model, to: folder + "/exact.graft")
      let found = try Session(ModelBundle(opening: folder + "/exact.graft")).run(["x": x])
      let numbers = try #require(found["y"]?.elements)
      return (0..<Self.items).map { Array(numbers[$0 * 5..<$0 * 5 + 5]) }
    }
    // Without their means, so that every class occurs.
    let raw = try scores(bias: [0, 0, 0, 0, 0])
    let means = (0..<5).map { column in
      raw.reduce(0) { $0 + $1[column] } / Float(Self.items)
    }
    let classes = try scores(bias: means.map { -$0 }).map { row in
      (0..<5).max { row[$0] < row[$1] } ?? 0
    }
    #expect(Set(classes).count > 2)
    let y = try Tensor(shape: [Self.items], elements: classes.map { Int64($0) })
    try TensorFiles.write(["x": x, "y": y], to: data)
  }

  /// x [N, 4, 6, 6] → convolution → 1×1 convolution → convolution → mean of each channel → y [N, 5]. The first channel
  /// that the 1×1 convolution reads is nearly 0, and its weights there are a thousand times the others, which int8
  /// therefore rounds to 0.
  private static func file(bias: [Float]) -> ModelFile {
    var random = SplitMix(seed: 11)
    func numbers(_ count: Int) -> [Float] { (0..<count).map { _ in random.number(in: -1...1) } }
    var file = ModelFile()
    func add(_ name: String, _ shape: [Int], _ elements: [Float]) {
      file.initializer(
        name, shape, type: 1, data: Wire.bytes(9, Wire.littleEndian(elements.map(\.bitPattern))))
    }
    func convolution(_ x: String, _ name: String, pads: Int) {
      file.node(
        "Conv", [x, "\(name).weight", "\(name).bias"], ["\(name).sum"], name: name,
        attributes: [ModelFile.attribute("pads", ints: Array(repeating: pads, count: 4))])
      file.node("Relu", ["\(name).sum"], ["\(name).out"], name: "\(name).relu")
    }
    file.input("x", ["N", 4, 6, 6])
    var first = numbers(8 * 4 * 9)
    for index in 0..<36 { first[index] *= 1e-7 }
    var shift = numbers(8)
    shift[0] = 0
    add("first.weight", [8, 4, 3, 3], first)
    add("first.bias", [8], shift)
    convolution("x", "first", pads: 1)
    var harmed = numbers(8 * 8)
    for output in 0..<8 { harmed[output * 8] *= 1000 }
    add("harmed.weight", [8, 8, 1, 1], harmed)
    add("harmed.bias", [8], numbers(8))
    convolution("first.out", "harmed", pads: 0)
    add("last.weight", [8, 8, 3, 3], numbers(8 * 8 * 9))
    add("last.bias", [8], numbers(8))
    convolution("harmed.out", "last", pads: 1)
    file.node("GlobalAveragePool", ["last.out"], ["means"], name: "pool")
    file.node("Flatten", ["means"], ["row"], name: "flatten")
    add("matrix", [8, 5], numbers(8 * 5))
    add("bias", [5], bias)
    file.node("Gemm", ["row", "matrix", "bias"], ["y"], name: "head")
    file.output("y", ["N", 5])
    return file
  }
}

@Suite struct AccuracyControlTests {
  private func compile(
    _ harmed: HarmedModel, to path: String, mostDrop: Double
  ) throws -> CompilationReport {
    var options = Compiler.Options()
    options.target = .native(for: .int8)
    options.quantization = QuantizationOptions(calibrationData: harmed.data + "/x.npy")
    options.accuracy = AccuracyOptions(data: harmed.data)
    options.accuracy?.mostDrop = mostDrop
    return try Compiler(options).compile(harmed.model, to: path)
  }

  @Test func theHarmedLayerStaysWide() throws {
    try withTemporaryFolder { folder in
      let harmed = try HarmedModel(in: folder)
      let path = folder + "/int8.graft"
      let report = try compile(harmed, to: path, mostDrop: 4)
      let accuracy = try #require(report.accuracy)
      #expect(accuracy.float32.top1 == 1)
      #expect(accuracy.dropOfAll > 10, "\(accuracy.dropOfAll)")
      #expect(accuracy.kept.map(\.value) == ["harmed.out"], "\(accuracy.lines)")
      #expect(accuracy.comparison.drop <= 4 && accuracy.layers == 4)
      #expect(abs(accuracy.int8.top1 - (1 - accuracy.comparison.drop / 100)) < 1e-9)
      // The bundle is the one that was measured, and says which layer is float32.
      let bundle = try ModelBundle(opening: path)
      try bundle.verify()
      #expect(bundle.manifest.quantization?.kept == accuracy.kept)
      #expect(report.explanation.contains("in int8 it alone changes the outputs"))
      var evaluator = try Evaluator(bundle)
      #expect(try evaluator.evaluate(harmed.data).top1 == accuracy.int8.top1)
      // A recompilation keeps it float32 too.
      let again = folder + "/again.graft"
      try Compiler().compile(path, to: again)
      #expect(try ModelBundle(opening: again).manifest.quantization?.kept == accuracy.kept)
    }
  }

  /// The ranking's errors are those of networks that are compiled with everything but one layer in float32.
  @Test(
    arguments: ["winograd_residual", "shuffle_block", "depthwise_separable", "fire_module", "unet"])
  func rankingIsHonest(name: String) throws {
    let fixture = try ModelFixture.named(name)
    try withTemporaryFolder { folder in
      let inputs = try fixture.loadInputs()
      let compiler = Compiler()
      var model = try compiler.load(fixture.modelPath)
      let graph = try compiler.lower(model.graph, to: .optimized).graph
      let feed = CalibrationFeed(method: .minmax) { _, body in
        try body(inputs, inputs.first?.value.shape.first ?? 1)
        return []
      }
      let quantization = try NetworkQuantization(
        calibrating: [graph], of: model, on: feed, keeping: nil, compiler: compiler)
      let output = try #require(graph.outputs.first?.name)
      let ranking = try LayerRanking(
        of: graph, quantization.pass(for: graph), output: output, model, compiler: compiler
      ) { try $0(inputs) }
      let layers = ranking.groups.flatMap(\.layers)
      #expect(layers.count > 1)
      #expect(zip(ranking.groups, ranking.groups.dropFirst()).allSatisfy { $0.error >= $1.error })

      // Between movements and pools on bytes, values share the range that they have with all layers on bytes.
      var record = quantization.record
      let keys = ValueKeys(graph)
      for (value, range) in try quantization.pass(for: graph).layers(of: graph).ranges {
        record.ranges[try #require(keys.keys[value])] = range
      }
      func outputs(onBytes layer: String?, _ name: String) throws -> [Double] {
        model.quantization = record
        model.quantization?.kept = keys.values.map(\.key).filter { $0 != layer }.map {
          Manifest.Quantization.KeptLayer(layer: $0, value: $0, reason: "it is not about this one")
        }
        let path = "\(folder)/\(name).graft"
        try compiler.plain(layer == nil ? .float32 : nil).compile(model, to: path)
        let found = try Session(ModelBundle(opening: path)).run(inputs)
        return try #require(found[output]).elements.map { Double($0) }
      }
      let exact = try outputs(onBytes: nil, "exact")
      let mean = exact.reduce(0, +) / Double(exact.count)
      let variance = exact.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      for (number, group) in ranking.groups.enumerated() {
        var square = 0.0
        for layer in group.layers {
          let found = try outputs(onBytes: layer.value, "\(number)-\(square)")
          square += zip(found, exact).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        }
        let error = (square / variance).squareRoot()
        #expect(
          abs(group.error - error) < 0.05 * error, "\(group.layers): \(group.error), not \(error)")
      }
    }
  }

  /// Where nothing may be lost the search ends, at the latest with float32 itself.
  @Test func nothingMayBeLost() throws {
    try withTemporaryFolder { folder in
      let harmed = try HarmedModel(in: folder)
      let path = folder + "/exact-int8.graft"
      let report = try compile(harmed, to: path, mostDrop: 0)
      let accuracy = try #require(report.accuracy)
      #expect(accuracy.comparison.drop <= 0)
      let isInt8 = try ModelBundle(opening: path).manifest.precision == .int8
      #expect(isInt8 == (accuracy.kept.count < accuracy.layers))
      #expect(report.warnings.contains { $0.message.contains("no layer can be") } == !isInt8)
    }
  }

  @Test func anyDropIsAllowed() throws {
    try withTemporaryFolder { folder in
      let harmed = try HarmedModel(in: folder)
      let path = folder + "/any.graft"
      let done = try GraftProgram.run([
        "compile", harmed.model, "-o", path, "--precision", "int8", "--calibrate",
        harmed.data + "/x.npy", "--data", harmed.data, "--max-drop", "100", "--tune", "off",
      ])
      #expect(done.status == 0, "\(done.errors)")
      #expect(done.output.contains("float32 100.00 %") && done.output.contains("all 4 that can be"))
      #expect(try ModelBundle(opening: path).manifest.quantization?.kept == nil)
    }
  }
}
