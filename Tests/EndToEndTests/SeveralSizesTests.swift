// Bundles for several input shapes: every program gives the bits of a bundle compiled for its shapes alone,
// weights are stored once, and the shapes of the inputs choose the program.

import Foundation
import GraftData
import GraftDiagnostics
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

@Suite("Several sizes in one bundle")
struct SeveralSizesTests {
  private static let images = [[12, 16], [20, 24]]

  @Test(arguments: [1, 2])
  func everyProgramHasTheBitsOfItsOwnBundle(threads: Int) throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let both = try Session(model.compile(), threads: threads)
      let alone = try SizedModel.sizes.map {
        try Session(model.compile([$0]), threads: threads)
      }
      // Back and forth, so that a program that wrote into what another needs would show.
      for (batch, index) in [(1, 0), (3, 1), (2, 0), (1, 1), (3, 0)] {
        let x = try randomTensor([batch, 3] + Self.images[index], seed: UInt64(batch))
        let expected = try alone[index].runKeepingValues(["x": x])
        let found = try both.runKeepingValues(["x": x])
        #expect(found.outputs == expected.outputs, "batch \(batch) of size \(index)")
        #expect(found.outputs["y"]?.shape == [batch, 5])
        #expect(found.values == expected.values && !found.values.isEmpty)
      }
    }
  }

  @Test func theReferenceEvaluatorTakesTheProgramOfTheShapes() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let both = try TensorRunner(model.compile(), mode: .reference)
      for (size, image) in zip(SizedModel.sizes, Self.images) {
        let x = try randomTensor([2, 3] + image)
        let alone = try TensorRunner(model.compile([size]), mode: .reference)
        #expect(try both.run(["x": x]).outputs == alone.run(["x": x]).outputs)
      }
    }
  }

  @Test func whatSizesShareIsStoredOnce() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.convolutions(in: folder)
      let both = try model.compile()
      for size in SizedModel.sizes {
        let alone = try model.compile([size])
        let (ours, theirs) = (both.manifest.files, alone.manifest.files)
        #expect(ours["weights.safetensors"] == theirs["weights.safetensors"])
        #expect(try #require(ours["packed.bin"]).bytes == #require(theirs["packed.bin"]).bytes)
      }
      #expect(both.manifest.files["graph-2.ir"] != nil)
      #expect(both.manifest.files["weights-2.safetensors"] == nil)
    }
  }

  /// Of the classifier, only the coefficients of the Resize depend on the size.
  @Test func constantsOfASizeAreItsOwn() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let both = try model.compile()
      let own = try Safetensors.read(both.path(of: "weights-2.safetensors"))
      #expect(Set(own.keys.map { $0.prefix(14) }) == ["large/constant"])
      for (index, size) in SizedModel.sizes.enumerated() {
        let expected = try model.compile([size]).loadGraph()
        let found = try both.loadGraph(ofProgram: index)
        #expect(found.text == expected.text)
        for (one, other) in zip(found.parameters, expected.parameters) {
          let (data, wanted) = try (
            #require(found[one].parameter?.data), #require(expected[other].parameter?.data)
          )
          #expect(data.hasSameElements(as: wanted), "\(found[one].name ?? "")")
        }
      }
    }
  }

  @Test func theManifestDescribesEveryProgram() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let programs = try model.compile().manifest.programs
      let alone = try SizedModel.sizes.map { try model.compile([$0]).manifest.programs }
      #expect(programs.count == 2)
      for (program, own) in zip(programs, alone) {
        #expect(own.count == 1)
        #expect(program.inputs == own[0].inputs && program.outputs == own[0].outputs)
        #expect(program.arenaBytesPerImage == own[0].arenaBytesPerImage)
        #expect(program.scratchBytesPerThread == own[0].scratchBytesPerThread)
        #expect(program.work == own[0].work && program.work?.isEmpty == false)
        #expect(program.schedule.count == own[0].schedule.count)
      }
    }
  }

  @Test func recompilingKeepsAllOrTheChosen() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let both = try model.compile()
      try Compiler().compile(both.path, to: folder + "/again.graft")
      #expect(try ModelBundle(opening: folder + "/again.graft").manifest == both.manifest)
      let second = try SizedModel.sizes[1...].map { ["x": try #require(InputShape($0))] }
      var options = Compiler.Options()
      options.inputShapes = second
      try Compiler(options).compile(both.path, to: folder + "/second.graft")
      let alone = try model.compile([SizedModel.sizes[1]])
      #expect(try ModelBundle(opening: folder + "/second.graft").manifest == alone.manifest)

      let (first, other) = (folder + "/first.onnx", folder + "/other.onnx")
      _ = try Exporter.export(both, to: first)
      _ = try Exporter.export(both, to: other, inputShapes: second[0])
      for (path, index) in [(first, 0), (other, 1)] {
        let graph = try SourceModel(reading: path).graph
        #expect(
          graph.inputs.map { graph.type(of: $0).shape.description }
            == ["[N,3,\(Self.images[index][0]),\(Self.images[index][1])]"])
      }
    }
  }

  @Test func tuningChoosesForEveryProgram() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      var options = Compiler.Options()
      options.tuning = .quick
      options.inputShapes = try SizedModel.sizes.map { ["x": try #require(InputShape($0))] }
      let report = try Compiler(options).compile(model.path, to: folder + "/tuned.graft")
      let sites = report.programs.map { Set($0.tuning?.sites.map(\.site.description) ?? []) }
      #expect(sites.count == 2 && sites.allSatisfy { !$0.isEmpty } && sites[0] != sites[1])
      let (tuned, untuned) = (
        try Session(ModelBundle(opening: folder + "/tuned.graft")), try Session(model.compile())
      )
      for image in Self.images {
        let x = try randomTensor([2, 3] + image)
        let (found, expected) = try (tuned.run(["x": x]), untuned.run(["x": x]))
        for (one, other) in try zip(
          #require(found["y"]).elements, #require(expected["y"]).elements)
        {
          #expect(abs(one - other) <= 1e-4 * max(1, abs(other)))
        }
      }
    }
  }

  @Test func theShapesOfInputsGoInPairs() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.twoInputs(in: folder)
      let bundle = try model.compile(
        [["a": "Nx4", "b": "Nx6"], ["a": "Nx5", "b": "Nx7"]], as: "pairs")
      let session = try Session(bundle, threads: 1)
      for (p, q) in [(4, 6), (5, 7)] {
        let inputs = try ["a": randomTensor([2, p]), "b": randomTensor([2, q], seed: 2)]
        let alone = try Session(
          model.compile([["a": "Nx\(p)", "b": "Nx\(q)"]], as: "alone\(p)"), threads: 1)
        let outputs = try session.run(inputs)
        #expect(outputs["y"]?.shape == [2, p + q])
        #expect(try outputs == alone.run(inputs))
      }
      let mixed = try ["a": randomTensor([1, 4]), "b": randomTensor([1, 7])]
      let error = #expect(throws: GraftError.self) { try session.run(mixed) }
      #expect(error?.kind == .invalidArgument)
      #expect(
        error?.message == #"input "b" has shape [1,7], the network takes "a" [N,4] with "b" [N,6] "#
          + #"or "a" [N,5] with "b" [N,7]"#)
    }
  }

  @Test func aShapeWithoutAProgramIsAnErrorWithAllThatHaveOne() throws {
    try withTemporaryFolder { folder in
      let bundle = try SizedModel.convolutions(in: folder).compile(
        SizedModel.sizes + ["Nx3x8x8"])
      let x = try ["x": randomTensor([1, 3, 12, 24])]
      for mode in [TensorRunner.Mode.compiled(threads: 1), .reference] {
        let error = #expect(throws: GraftError.self) {
          try TensorRunner(bundle, mode: mode).run(x)
        }
        #expect(
          error?.message
            == #"input "x" has shape [1,3,12,24], the network takes [N,3,12,16], [N,3,20,24] or [N,3,8,8]"#
        )
      }
    }
  }

  /// The preprocessing makes images of the second size.
  @Test func predictionTakesTheProgramOfThePreprocessing() throws {
    try withTemporaryFolder { folder in
      let specification = folder + "/second.json"
      try """
      {"resize": {"exact": [20, 24], "filter": "bilinear", "antialias": true}, "color": "RGB",
       "layout": "NCHW", "scale": 0.01, "mean": [0, 0, 0], "std": [1, 1, 1]}
      """.write(toFile: specification, atomically: true, encoding: .utf8)
      let picture = folder + "/picture.png"
      let pixels = (0..<9 * 7 * 3).map { UInt8(truncatingIfNeeded: $0 * 37) }
      try Data(Image(width: 9, height: 7, channels: 3, pixels: pixels).encodedPNG())
        .write(to: URL(filePath: picture))
      let model = try SizedModel.classifier(in: folder)
      let answers = try [SizedModel.sizes, [SizedModel.sizes[1]]].map { sizes in
        let bundle = try model.compile(sizes) { $0.preprocessing = specification }
        try bundle.verify()
        return try Classifier(bundle, threads: 1).classify([picture])[0].classes
      }
      #expect(answers[0].count == 5)
      #expect(answers[0].map(\.index) == answers[1].map(\.index))
      #expect(answers[0].map(\.probability) == answers[1].map(\.probability))
    }
  }

  /// The preprocessing keeps the size of an image.
  @Test func predictionTakesTheProgramOfTheImage() throws {
    try withTemporaryFolder { folder in
      let specification = folder + "/any.json"
      try """
      {"color": "RGB", "layout": "NCHW", "scale": 0.01, "mean": [0, 0, 0], "std": [1, 1, 1]}
      """.write(toFile: specification, atomically: true, encoding: .utf8)
      let pictures = try (Self.images + [[7, 9]]).map { size in
        let path = folder + "/\(size[0]).png"
        let pixels = (0..<size[0] * size[1] * 3).map { UInt8(truncatingIfNeeded: $0 * 37) }
        try Data(Image(width: size[1], height: size[0], channels: 3, pixels: pixels).encodedPNG())
          .write(to: URL(filePath: path))
        return path
      }
      let model = try SizedModel.classifier(in: folder)
      func compiled(_ sizes: [String], _ model: SizedModel) throws -> ModelBundle {
        try model.compile(sizes) { $0.preprocessing = specification }
      }
      let both = try Classifier(compiled(SizedModel.sizes, model), threads: 1)
      var answers: [Classifier.Answer] = []
      try both.classify(pictures.reversed()) { answers.append($0) }
      for (index, answer) in answers.reversed().prefix(2).enumerated() {
        let alone = try Classifier(compiled([SizedModel.sizes[index]], model), threads: 1)
          .classify([pictures[index]])[0]
        #expect(answer.error == nil && answer.classes.count == 5)
        #expect(answer.classes.map(\.probability) == alone.classes.map(\.probability))
      }
      #expect(answers[0].error?.contains("the network needs [3, 12, 16] or [3, 20, 24]") == true)

      let other = folder + "/maps"
      try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: false)
      let maps = try SizedModel.convolutions(in: other)
      var sizes: [[Int]] = []
      try Segmenter(compiled(SizedModel.sizes, maps), threads: 1).segment(pictures) { answer in
        if answer.error == nil { sizes.append([answer.height, answer.width]) }
      }
      #expect(sizes == Self.images)
    }
  }

  @Test func evaluationTakesTheProgramOfTheData() throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let both = try model.compile()
      for (index, size) in SizedModel.sizes.enumerated() {
        let data = try Self.data(Self.images[index], in: folder)
        let reports = try [both, model.compile([size])].map { bundle in
          var evaluator = try Evaluator(bundle, threads: 1, batchSize: 4)
          return try evaluator.evaluate(data)
        }
        #expect(reports[0].images == 10 && reports[0].loss == reports[1].loss)
      }
      let data = try Self.data([9, 9], in: folder)
      var evaluator = try Evaluator(both, threads: 1)
      let error = #expect(throws: GraftError.self) { try evaluator.evaluate(data) }
      #expect(
        error?.message.contains("takes [N,3,12,16] or [N,3,20,24]") == true, "\(error as Any)")
    }
  }

  /// Ten images as tensors, with classes 0 to 4.
  private static func data(_ image: [Int], in folder: String) throws -> String {
    let path = folder + "/data\(image[0])"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    let x = try randomTensor([10, 3] + image)
    try Data(NPYArray(element: .float32, shape: x.shape, bytes: x.bytes).encoded())
      .write(to: URL(filePath: path + "/x.npy"))
    try Data(NPYArray((0..<10).map { Int64($0 % 5) }, shape: [10]).encoded())
      .write(to: URL(filePath: path + "/y.npy"))
    return path
  }

  /// The data choose the program that trains, with the bits of a bundle for that size alone. The other program
  /// gets the same weights.
  @Test(arguments: [0, 1])
  func fineTuningTrainsOneProgramForAll(trained: Int) throws {
    try withTemporaryFolder { folder in
      let model = try SizedModel.classifier(in: folder)
      let data = try Self.data(Self.images[trained], in: folder)
      func tuned(_ bundle: ModelBundle, as name: String) throws -> ModelBundle {
        var options = FineTuner.Options(data: data)
        options.epochs = 2
        options.unfreeze = .scope("second")
        var tuner = try FineTuner(bundle.path, options)
        _ = try tuner.run(to: folder + "/\(name).graft")
        let result = try ModelBundle(opening: folder + "/\(name).graft")
        try result.verify()
        return result
      }
      let both = try tuned(model.compile(), as: "both")
      let alone = try tuned(model.compile([SizedModel.sizes[trained]]), as: "alone")
      #expect(
        both.manifest.programs.map(\.inputs)
          == (try model.compile().manifest.programs).map(\.inputs))
      for name in ["second.weight", "second.bias"] {
        let weights = try [both, alone].map { bundle in
          let graph = try bundle.loadGraph(
            ofProgram: bundle.manifest.programs.count == 1 ? 0 : 1 - trained)
          return try #require(graph.parameter(named: name).flatMap { graph[$0].parameter?.data })
        }
        #expect(weights[0].hasSameElements(as: weights[1]), "\(name)")
      }
      let x = try ["x": randomTensor([2, 3] + Self.images[trained])]
      #expect(try Session(both, threads: 1).run(x) == Session(alone, threads: 1).run(x))
    }
  }

  @Test func benchmarksAreOfTheChosenProgram() throws {
    try withTemporaryFolder { folder in
      let bundle = try SizedModel.convolutions(in: folder).compile()
      let shapes = try SizedModel.sizes.map { ["x": try #require(InputShape($0))] }
      let reports = try ([[:]] + shapes).map { shapes in
        try Benchmark(loading: bundle.path, threads: 1, inputShapes: shapes).run(seconds: 0.01)
      }
      let programs = bundle.manifest.programs
      #expect(reports.map(\.inputs) == [0, 0, 1].map { programs[$0].inputs })
      #expect(reports[0].peakArenaBytes == reports[1].peakArenaBytes)
      #expect(reports[1].peakArenaBytes < reports[2].peakArenaBytes)
    }
  }

  /// A weight that importing computed from the size is another one in every program.
  @Test func weightsOfOneSizeDoNotTrain() throws {
    try withTemporaryFolder { folder in
      let bundle = try SizedModel.scaled(in: folder).compile()
      let data = folder + "/data"
      try FileManager.default.createDirectory(atPath: data, withIntermediateDirectories: true)
      let x = try NPYArray(
        Array(repeating: Float(0.5), count: 8 * 3 * 12 * 16), shape: [8, 3, 12, 16])
      try Data(x.encoded()).write(to: URL(filePath: data + "/x.npy"))
      try Data(NPYArray((0..<8).map { Int64($0 % 5) }, shape: [8]).encoded())
        .write(to: URL(filePath: data + "/y.npy"))
      var options = FineTuner.Options(data: data)
      options.validationSplit = 0
      options.epochs = 1
      options.unfreeze = .all
      let error = #expect(throws: GraftError.self) {
        var tuner = try FineTuner(bundle.path, options)
        _ = try tuner.run(to: folder + "/all.graft")
      }
      #expect(error?.message.contains("so they cannot be trained together") == true)
      // The head alone is the same in both.
      options.unfreeze = .none
      var tuner = try FineTuner(bundle.path, options)
      _ = try tuner.run(to: folder + "/head.graft")
      try ModelBundle(opening: folder + "/head.graft").verify()
    }
  }
}
