// Every small model through the whole compiler: compiled kernels at one and two threads, the reference
// evaluator, every stage's text, and export, all against onnxruntime's numbers.

import Foundation
import Graft
import GraftIR
import GraftONNX
import GraftOps
import GraftTesting
import Testing

@Suite struct FixtureTests {
  @Test func thereAreFixtures() { #expect(ModelFixture.all.count >= 100) }

  @Test(arguments: ModelFixture.all)
  func compiledOutputsAreOnnxruntimes(_ fixture: ModelFixture) throws {
    try withTemporaryFolder { folder in
      let path = folder + "/net.graft"
      try Compiler().compile(fixture.modelPath, to: path)
      let bundle = try ModelBundle(opening: path)
      try bundle.verify()
      let inputs = try fixture.loadInputs()
      let one = try Session(bundle, threads: 1).run(inputs)
      try fixture.expectOutputs(one, "compiled")
      let two = try Session(bundle, threads: 2).run(inputs)
      for (name, tensor) in one {
        #expect(
          tensor == two[name],
          "\(name) depends on the number of threads")
      }
      if bundle.manifest.hasFreeBatch { try expectSameBitsInAnyPosition(bundle, inputs) }
    }
  }

  /// Repeats the batch: every copy of an image must come out as the same bits, wherever it stands.
  private func expectSameBitsInAnyPosition(_ bundle: ModelBundle, _ inputs: [String: Tensor]) throws
  {
    let copies = 3
    var repeated: [String: Tensor] = [:]
    for input in bundle.manifest.inputs {
      var tensor = try #require(inputs[input.name])
      guard try input.type().shape.dimensions.first == .batch else { return }
      tensor = try Tensor(
        tensor.dtype, shape: [tensor.shape[0] * copies] + tensor.shape.dropFirst(),
        bytes: (0..<copies).flatMap { _ in tensor.bytes })
      repeated[input.name] = tensor
    }
    let outputs = try Session(bundle, threads: 2, largestBatch: 1).run(repeated)
    for output in bundle.manifest.outputs {
      guard try output.type().shape.dimensions.first == .batch else { continue }
      let tensor = try #require(outputs[output.name])
      let part = tensor.bytes.count / copies
      let parts = (0..<copies).map { copy in
        tensor.bytes[copy * part..<(copy + 1) * part]
      }
      #expect(
        parts.allSatisfy { $0 == parts[0] }, "\(output.name) depends on the place in the batch")
    }
  }

  @Test(arguments: ModelFixture.all)
  func referenceOutputsAreOnnxruntimes(_ fixture: ModelFixture) throws {
    let model = try SourceModel(reading: fixture.modelPath)
    try fixture.expectOutputs(
      try evaluate(model.graph, fixture.loadInputs()), "reference evaluator", ofAnyType: true)
  }

  @Test(arguments: ModelFixture.all)
  func everyStageParsesBackAndComputesTheSame(_ fixture: ModelFixture) throws {
    let model = try SourceModel(reading: fixture.modelPath)
    let inputs = try fixture.loadInputs()
    // The training step is made from choices and has a test of its own.
    for stage in Compiler.Stage.allCases where stage != .training {
      let moment = try Compiler().lower(model.graph, to: stage)
      let parsed = try Graph(parsing: moment.text)
      #expect(parsed == moment.graph, "\(stage)")
      try parsed.verify()
      try fixture.expectOutputs(
        try evaluate(moment.graph, inputs), "stage \(stage)", ofAnyType: true)
      if let plan = moment.plan {
        #expect(plan.arenaBytes >= plan.lowerBoundBytes)
      }
    }
  }

  @Test(arguments: ModelFixture.all)
  func exportedModelComputesTheSame(_ fixture: ModelFixture) throws {
    try withTemporaryFolder { folder in
      let model = try SourceModel(reading: fixture.modelPath)
      let path = folder + "/exported.onnx"
      var bytes: [UInt8] = []
      try ONNXExporter.write(
        model.graph, options: ONNXExportOptions(importedOpset: model.provenance.opset)
      ) { bytes += $0 }
      try Data(bytes).write(to: URL(filePath: path))
      let again = try SourceModel(reading: path)
      try fixture.expectOutputs(
        try evaluate(again.graph, fixture.loadInputs()), "exported and imported again",
        ofAnyType: true)
    }
  }

  private func evaluate(_ graph: Graph, _ inputs: [String: Tensor]) throws -> [String: Tensor] {
    var evaluator = ReferenceEvaluator(graph)
    let given = try inputs.mapValues { tensor in
      try HostTensor(
        TensorData(tensor.dtype, tensor.shape, in: MemoryBytes(tensor.bytes)), precision: .single)
    }
    return try evaluator.run(given).mapValues { value in
      try Tensor(shape: value.shape, elements: (value.doubles ?? []).map { Float($0) })
    }
  }
}
