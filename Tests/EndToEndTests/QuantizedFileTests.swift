// Files that others quantized, on bytes: onnxruntime's numbers, on the targets that this machine has.
// tools/make-quantized-fixture makes them.

import Foundation
import Graft
import GraftData
import GraftIR
import GraftONNX
import GraftOps
import GraftTesting
import Testing

@Suite struct QuantizedFileTests {
  struct Fixture: Codable, Sendable, CustomTestStringConvertible {
    var name: String
    /// The scale of the last value that the network quantizes.
    var step: Float

    var testDescription: String { name }
    var path: String { folder + "/\(name).onnx" }
  }

  static let folder = ModelFixture.folder + "/quantized"

  static let fixtures: [Fixture] = {
    let data = FileManager.default.contents(atPath: folder + "/expected.json") ?? Data()
    return (try? JSONDecoder().decode([Fixture].self, from: data)) ?? []
  }()

  private static func tensor(_ file: String) throws -> Tensor {
    let array = try NPYArray(contentsOf: folder + "/" + file)
    return try Tensor(array.element, shape: array.shape, bytes: array.bytes)
  }

  @Test func thereAreFixtures() { #expect(Self.fixtures.count == 6) }

  private static let targets =
    [CompilationTarget.nativeForNarrowTypes, .x8664v3].filter(\.isRunnable).map(\.name)

  @Test(arguments: fixtures, targets)
  func compiledOutputsAreOnnxruntimes(_ fixture: Fixture, target: String) throws {
    try withTemporaryFolder { folder in
      var options = Compiler.Options()
      options.target = try CompilationTarget(named: target)
      let report = try Compiler(options).compile(fixture.path, to: folder + "/net.graft")
      #expect(
        report.programs[0].passes.notes.contains {
          $0.description.contains("lower-to-bytes: put 6 layers on bytes")
        }, "\(report.programs[0].passes.notes)")
      let bundle = try ModelBundle(opening: folder + "/net.graft")
      try bundle.verify()
      let x = try Self.tensor("x.npy")
      let one = try Session(bundle, threads: 1).run(["x": x])
      let two = try Session(bundle, threads: 2).run(["x": x])
      #expect(one == two)
      try expectOutputs(fixture, try #require(one["y"]), "compiled")
    }
  }

  private func expectOutputs(_ fixture: Fixture, _ found: Tensor, _ how: String) throws {
    let expected = try Self.tensor("\(fixture.name).npy")
    #expect(found.shape == expected.shape)
    let worst = zip(found.elements, expected.elements).map { abs($0 - $1) }.max() ?? 0
    // The integers are onnxruntime's.
    #expect(worst <= 0.01 * fixture.step, "\(how): \(worst / fixture.step) steps")
    let width = found.shape[1]
    func classes(_ tensor: Tensor) -> [Int] {
      (0..<tensor.shape[0]).map { row in
        let scores = tensor.elements[row * width..<(row + 1) * width]
        return (scores.firstIndex(of: scores.max() ?? 0) ?? 0) - scores.startIndex
      }
    }
    #expect(classes(found) == classes(expected))
  }

  /// The graph of every stage computes the same; so does what is exported and imported again, from numbers or bytes.
  @Test(arguments: fixtures)
  func theReferenceAgrees(_ fixture: Fixture) throws {
    let model = try SourceModel(reading: fixture.path)
    var graphs = [(graph: model.graph, how: "imported")]
    graphs.append((try Compiler().lower(model.graph, to: .optimized).graph, "optimized"))
    for (graph, how) in [(model.graph, "exported"), (graphs[1].graph, "exported on bytes")] {
      graphs.append((try Self.exportedAndLowered(graph, model.provenance.opset), how))
    }
    let x = try Self.tensor("x.npy")
    let given = try HostTensor(
      TensorData(x.dtype, x.shape, in: MemoryBytes(x.bytes)), precision: .single)
    for (graph, how) in graphs {
      #expect(try Graph(parsing: graph.text) == graph, "\(how)")
      var evaluator = ReferenceEvaluator(graph)
      let y = try #require(try evaluator.run(["x": given])["y"])
      let found = try Tensor(shape: y.shape, elements: (y.doubles ?? []).map { Float($0) })
      if how == "imported" {
        // Sums of float32 numbers may be on the other side of a half.
        let expected = try Self.tensor("\(fixture.name).npy")
        let worst = zip(found.elements, expected.elements).map { abs($0 - $1) }.max() ?? 0
        #expect(worst <= 2.001 * fixture.step, "\(how): \(worst / fixture.step) steps")
      } else {
        try expectOutputs(fixture, found, how)
      }
    }
  }

  /// The optimized graph of what is written and read.
  private static func exportedAndLowered(_ graph: Graph, _ opset: Int) throws -> Graph {
    try withTemporaryFolder { folder in
      let path = folder + "/again.onnx"
      var bytes: [UInt8] = []
      try ONNXExporter.write(graph, options: ONNXExportOptions(importedOpset: opset)) {
        bytes += $0
      }
      try Data(bytes).write(to: URL(filePath: path))
      return try Compiler().lower(SourceModel(reading: path).graph, to: .optimized).graph
    }
  }

  /// No option is needed: the machine's target for bytes is taken, and a new head trains in float32.
  @Test func theCommandLine() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/bytes.graft"
      let model = Self.folder + "/qdq.onnx"
      let done = try GraftProgram.run(["compile", model, "-o", path, "--tune", "off"])
      #expect(done.status == 0, "\(done.errors)")
      #expect(
        done.errors.contains("for \(CompilationTarget.nativeForNarrowTypes.name)"), "\(done.errors)"
      )
      #expect(try GraftProgram.run(["verify", path]).status == 0)
      let trained = try GraftProgram.run([
        "compile", model, "-o", folder + "/trains.graft", "--tune", "off", "--trainable", "none",
        "--classes", "3",
      ])
      #expect(trained.status == 0, "\(trained.errors)")
      #expect(trained.errors.contains("the network is quantized; it trains in float32"))
    }
  }
}
