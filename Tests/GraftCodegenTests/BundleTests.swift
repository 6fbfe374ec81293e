// A compiled library as its users meet it: what it exports and describes, how it refuses, taps, ranges
// of steps, two bundles side by side.

import Foundation
import GraftCodegen
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftRuntime
import GraftTesting
import Testing

@Suite struct BundleTests {
  /// conv - relu - add - pool - gemm on images of 3 channels.
  static func network(seed: UInt64, target: Target = .native) throws -> KernelHarness {
    var harness = KernelHarness(seed: seed, target: target)
    let x = try harness.image([3, 8, 8], border: (1, 1), isPlanar: true)
    let first = try harness.apply(
      Convolution(pads: [1, 1, 1, 1], activation: .relu),
      [x, try harness.parameter([12, 3, 3, 3]), try harness.parameter([12])],
      layout: harness.blocked(border: (1, 1)))[0]
    harness.graph[first].name = "first \"layer\"; system(\"id\"); // ../../etc\n\u{1F600}"
    let second = try harness.apply(
      Convolution(pads: [1, 1, 1, 1], activation: .relu),
      [first, try harness.parameter([12, 12, 3, 3], scale: 0.2), nil, first],
      layout: harness.blocked)[0]
    harness.graph[second].name = "second"
    let pooled = try harness.apply(GlobalAveragePool(), [second], layout: harness.blocked)[0]
    let plain = try harness.convert(pooled, .plain)
    let flat = try harness.apply(Reshape(shape: [.batch, 12]), [plain])[0]
    try harness.output(
      try harness.apply(
        Gemm(), [flat, try harness.parameter([12, 5]), try harness.parameter([5])])[0])
    return harness
  }

  static func withBundle(
    seed: UInt64 = 21, _ body: (KernelHarness, String) throws -> Void
  ) throws {
    let harness = try network(seed: seed)
    let folder = try KernelHarness.build(harness.graph)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(harness, folder)
  }

  static func input(_ batch: Int, seed: UInt64 = 5) -> [Float] {
    var random = SplitMix(seed: seed)
    return (0..<(batch * 3 * 64)).map { _ in random.float() }
  }

  /// The error that `body` throws.
  static func failure(_ body: () throws -> Void) -> GraftError? {
    do { try body() } catch { return error as? GraftError }
    return nil
  }

  @Test func smallNetworkAgreesWithTheReference() throws {
    var harness = try Self.network(seed: 20)
    try harness.check(batches: [5, 1, 2], tolerance: 1e-6)
  }

  @Test(arguments: ["generic", "x86-64-v3"]) func otherTargetsAgreeToo(name: String) throws {
    let target = try Target(named: name)
    #if arch(x86_64)
      guard target.requiredFeatures.isEmpty || Target.native != .generic else { return }
      var harness = try Self.network(seed: 22, target: target)
      try harness.check(tolerance: 1e-6)
    #endif
  }

  @Test func imagesHaveTheSameBitsAtAnyPositionOfAnyBatch() throws {
    try Self.withBundle { _, folder in
      let model = try LoadedModel(
        library: ModelLibrary(path: folder + "/libmodel.so"), bundle: folder, largestBatch: 7,
        threads: 2)
      let image = Self.input(1)
      let other = Self.input(1, seed: 9)
      let alone = try model.run(batch: 2, inputs: [image + other])[0].prefix(5)
      for position in 0..<7 {
        let batch = (0..<7).flatMap { $0 == position ? image : other }
        let found = try model.run(batch: 7, inputs: [batch])[0][(position * 5)..<(position * 5 + 5)]
        #expect(found.map(\.bitPattern) == alone.map(\.bitPattern))
      }
    }
  }

  @Test func describesItselfAndExportsOneSymbol() throws {
    try Self.withBundle { harness, folder in
      let library = try ModelLibrary(path: folder + "/libmodel.so")
      let description = library.description
      #expect(description.inputs.map(\.name) == ["in"])
      #expect(description.inputs[0].type.shape == [.batch, 3, 8, 8])
      #expect(description.outputs[0].type.shape == [.batch, 5])
      #expect(description.hasFreeBatch)
      #expect(
        description.values.contains {
          $0.name == "first \"layer\"; system(\"id\"); // ../../etc\n\u{1F600}"
        })
      let bytes = try FileManager.default.attributesOfItem(atPath: folder + "/packed.bin")[.size]
      #expect(description.packedBytes == bytes as? Int)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["nm", "-D", "--defined-only", folder + "/libmodel.so"]
      let pipe = Pipe()
      process.standardOutput = pipe
      try process.run()
      let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(text.split(separator: "\n").map { $0.split(separator: " ").last } == ["graft_model"])
    }
  }

  @Test func tapsAndRangesOfSteps() throws {
    try Self.withBundle { harness, folder in
      let library = try ModelLibrary(path: folder + "/libmodel.so")
      let model = try LoadedModel(library: library, bundle: folder, largestBatch: 3, threads: 2)
      let input = Self.input(3)
      var evaluator = ReferenceEvaluator(harness.graph, precision: .double)
      var expected: [Double] = []
      let tensor = try DenseTensor(shape: [3, 3, 8, 8], elements: input.map(Double.init))
      _ = try evaluator.run(["in": .float64(tensor)]) { value, tensor in
        if harness.graph[value].name == "second" { expected = tensor.doubles }
      }
      let index = try #require(library.description.values.firstIndex { $0.name == "second" })
      var tapped = [Float](repeating: .nan, count: 3 * 12 * 64)
      var output = [Float](repeating: -7, count: 15)
      func run(_ steps: Range<Int>) throws {
        try input.withUnsafeBytes { input in
          try output.withUnsafeMutableBytes { output in
            try tapped.withUnsafeMutableBytes { tapped in
              try model.run(
                batch: 3, inputs: [input], outputs: [output],
                taps: [LoadedModel.Tap(value: index, buffer: tapped)], steps: steps)
            }
          }
        }
      }
      let stop = library.description.availableAfterStep[index] + 1
      let count = library.description.stepNames.count
      try run(0..<stop)
      #expect(output.allSatisfy { $0 == -7 })
      #expect(zip(tapped, expected).allSatisfy { abs(Double($0) - $1) < 1e-5 })
      try run(stop..<count)
      #expect(try model.run(batch: 3, inputs: [input])[0] == output)
    }
  }

  /// Outputs that are an input, a parameter, a view of another output, or named twice.
  @Test func outputsThatNoNodeWrites() throws {
    var harness = KernelHarness(seed: 29)
    let x = harness.input([.batch, 6])
    let y = try harness.apply(Relu(), [x])[0]
    let view = try harness.apply(Reshape(shape: [.batch, 2, 3]), [y])[0]
    for value in [x, try harness.parameter([4]), y, y, view] { try harness.output(value) }
    try harness.check(tolerance: 0)
  }

  @Test func halfPrecisionFunctionsAreRefused() throws {
    var graph = Graph(name: "half")
    let x = graph.addInput("x", TensorType(.float16, [.batch, 4]))
    let y = try graph.append(Softplus(), [x], origins: ["act"])[0]
    graph.outputs.append(GraphOutput(name: "y", value: y))
    let plan = try KernelHarness.plan(graph)
    let error = Self.failure {
      _ = try CodeGenerator(target: .generic).generate(graph: graph, plan: plan)
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.message == "no kernel computes softplus on f16[N,4]")
    #expect(error?.location.node == "act")
  }

  /// Weights of other floating-point types become float32 when they are packed.
  @Test func storedTypesOfWeights() throws {
    var harness = KernelHarness(seed: 33)
    let values: [Float] = [0.5, -1.25, 3, 0.0078125, -2, 1.5]
    let bytes: [(DataType, [UInt8])] = [
      (.float64, values.flatMap { value in withUnsafeBytes(of: Double(value)) { Array($0) } }),
      (.float32, values.flatMap { value in withUnsafeBytes(of: value) { Array($0) } }),
      (
        .bfloat16,
        values.flatMap { value in
          withUnsafeBytes(of: UInt16(value.bitPattern >> 16)) { Array($0) }
        }
      ),
    ]
    for (dtype, raw) in bytes {
      let data = try TensorData(dtype, [3, 2], in: MemoryBytes(raw))
      #expect(data.floats() == values)
      let w = harness.graph.addParameter(
        harness.graph.unusedName("w"), TensorType(.float32, [3, 2]), Parameter(data: data))
      try harness.output(try harness.apply(Gemm(), [harness.input([.batch, 3]), w])[0])
    }
    let folder = try KernelHarness.build(harness.graph)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let model = try LoadedModel(
      library: ModelLibrary(path: folder + "/libmodel.so"), bundle: folder)
    let found = try model.run(batch: 1, inputs: Array(repeating: [1, 2, 4], count: 3))
    let expected: [Float] = [0.5 + 6 - 8, -1.25 + 0.015625 + 6]
    #expect(found == Array(repeating: expected, count: 3))
  }

  /// Neither inputs nor outputs need to be aligned.
  @Test func callersBuffersMayStandAnywhere() throws {
    try Self.withBundle { _, folder in
      let model = try LoadedModel(
        library: ModelLibrary(path: folder + "/libmodel.so"), bundle: folder)
      let input = Self.input(1)
      let expected = try model.run(batch: 1, inputs: [input])[0]
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 64)
      defer { memory.deallocate() }
      let shifted = UnsafeMutableRawBufferPointer(rebasing: memory[4..<(4 + 768)])
      let result = UnsafeMutableRawBufferPointer(rebasing: memory[2052..<(2052 + 20)])
      input.withUnsafeBytes { shifted.copyMemory(from: $0) }
      try model.run(batch: 1, inputs: [UnsafeRawBufferPointer(shifted)], outputs: [result])
      #expect((0..<5).map { result.load(fromByteOffset: $0 * 4, as: Float.self) } == expected)
    }
  }

  @Test func twoBundlesSideBySide() throws {
    try Self.withBundle(seed: 31) { first, firstFolder in
      try Self.withBundle(seed: 32) { second, secondFolder in
        let models = try [firstFolder, secondFolder].map {
          try LoadedModel(library: ModelLibrary(path: $0 + "/libmodel.so"), bundle: $0, threads: 2)
        }
        let input = Self.input(1)
        let before = try models.map { try $0.run(batch: 1, inputs: [input])[0] }
        let after = try models.map { try $0.run(batch: 1, inputs: [input])[0] }
        #expect(before == after)
        #expect(before[0] != before[1])
      }
    }
  }

  @Test func mappedWeightsAndReserve() throws {
    try Self.withBundle { _, folder in
      let library = try ModelLibrary(path: folder + "/libmodel.so")
      let model = try LoadedModel(library: library, bundle: folder)
      let mapped = try LoadedModel(library: library, bundle: folder, mapsWeights: true)
      let input = Self.input(2)
      let error = Self.failure { _ = try model.run(batch: 2, inputs: [input]) }
      #expect(error?.message == "a batch of 2, but the session has room for 1")
      try model.reserve(batch: 2)
      try mapped.reserve(batch: 2)
      #expect(
        try model.run(batch: 2, inputs: [input]) == mapped.run(batch: 2, inputs: [input]))
    }
  }

  @Test func wrongBuffersAreRefused() throws {
    try Self.withBundle { _, folder in
      let model = try LoadedModel(
        library: ModelLibrary(path: folder + "/libmodel.so"), bundle: folder)
      let error = Self.failure { _ = try model.run(batch: 1, inputs: [[1, 2, 3]]) }
      #expect(error?.message == "input \"in\" has 12 bytes, expected 768 at a batch of 1")
    }
  }

  @Test func foreignOrDamagedWeightsAreRefused() throws {
    try Self.withBundle { _, folder in
      let library = try ModelLibrary(path: folder + "/libmodel.so")
      let url = URL(fileURLWithPath: folder + "/packed.bin")
      let good = try Data(contentsOf: url)
      func message(_ data: Data?) throws -> String? {
        try? FileManager.default.removeItem(at: url)
        try data?.write(to: url)
        return Self.failure { _ = try LoadedModel(library: library, bundle: folder) }?.message
      }
      #expect(
        try message(good.dropLast())
          == "packed weights have \(good.count - 1) bytes, expected \(good.count)")
      var other = good
      other[20] ^= 1
      #expect(try message(other) == "packed weights belong to another build of the model")
      other = good
      other[0] ^= 1
      #expect(try message(other) == "packed weights do not begin with their magic number")
      other = good
      other[8] = 9
      #expect(try message(other) == "packed weights have version 9, expected 1")
      #expect(
        try message(Data()) == "\(folder)/packed.bin is shorter than its header of 64 bytes")
      #expect(try message(nil) == "cannot open \(folder)/packed.bin: No such file or directory")
      #expect(try message(good) == nil)
    }
  }

  @Test func cpuWithoutTheFeaturesIsRefused() throws {
    var target = Target.generic
    target.requiredFeatures = ["no-such-feature"]
    let harness = try Self.network(seed: 23, target: target)
    let folder = try KernelHarness.build(harness.graph, target: target)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let library = try ModelLibrary(path: folder + "/libmodel.so")
    let error = Self.failure { _ = try LoadedModel(library: library, bundle: folder) }
    #expect(error?.kind == .machine)
    #expect(
      error?.message
        == "this CPU lacks no-such-feature; the model was compiled for generic (no-such-feature)")
  }

  @Test func denormalsAreFlushedAndTheCallersModeIsRestored() throws {
    try Self.withBundle { _, folder in
      let model = try LoadedModel(
        library: ModelLibrary(path: folder + "/libmodel.so"), bundle: folder, threads: 2)
      let tiny = Float.leastNormalMagnitude
      _ = try model.run(batch: 1, inputs: [Self.input(1)])
      #expect(tiny / 2 > 0)
      #expect((tiny / 2) * 2 == tiny)
    }
  }

  /// The folder of the package.
  static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  /// Runs a program on `input`; its standard output, or nil where it fails.
  static func run(_ program: String, _ arguments: [String], input: [Float] = []) throws -> Data? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    let folder = try KernelHarness.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let file = URL(fileURLWithPath: folder + "/input")
    try input.withUnsafeBytes { Data($0) }.write(to: file)
    process.standardInput = try FileHandle(forReadingFrom: file)
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return process.terminationStatus == 0 ? data : nil
  }

  /// The example program in C gives what the loader gives; with sanitizers it finds nothing to say
  /// about any kernel of a network, at one thread and two.
  @Test(arguments: [[], ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]])
  func worksFromC(flags: [String]) throws {
    var harness = try Self.network(seed: 27)
    // Every other kind of kernel, on the same input.
    let image = try harness.convert(try #require(harness.graph.inputs.first), harness.blocked)
    let border = harness.blocked(border: (1, 1))
    for operation in [
      MaxPool(window: Window(kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1])),
      AveragePool(window: Window(kernel: [2, 2], strides: [2, 2]), ceil: true), Sigmoid(),
      LocalResponseNormalization(size: 5), Pad(pads: [0, 0, 1, 0, 0, 0, 2, 1], value: .real(1)),
    ] as [any GraftOps.Operator] {
      try harness.output(try harness.apply(operation, [image], layout: border)[0])
    }
    let joined = try harness.apply(Concatenate(axis: 1), [image, image, image], layout: border)[0]
    try harness.output(try harness.apply(ChannelShuffle(groups: 3), [joined], layout: border)[0])
    let weights = try harness.parameter([9, 1, 3, 3])
    try harness.output(
      try harness.apply(
        Convolution(strides: [2, 2], pads: [1, 1, 1, 1], groups: 9), [joined, weights],
        layout: border)[0])
    let plain = try harness.convert(joined, .plain)
    try harness.output(try harness.apply(Softmax(axis: 1), [plain])[0])
    try harness.output(try harness.apply(Transpose(permutation: [0, 2, 3, 1]), [plain])[0])
    try harness.output(try harness.apply(Add(), [plain, try harness.parameter([1, 9, 1, 8])])[0])

    let folder = try KernelHarness.build(harness.graph, extraFlags: flags)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try KernelHarness.compileExample(into: folder, flags: flags)
    let input = Self.input(3)
    let one = try #require(try Self.run(folder + "/run", [folder, "3", "1"], input: input))
    let two = try #require(try Self.run(folder + "/run", [folder, "3", "2"], input: input))
    #expect(one == two && !one.isEmpty)
    var evaluator = ReferenceEvaluator(harness.graph, precision: .double)
    let tensor = try DenseTensor(shape: [3, 3, 8, 8], elements: input.map(Double.init))
    let outputs = try evaluator.run(["in": .float64(tensor)])
    let expected = try harness.graph.outputs.flatMap { try #require(outputs[$0.name]).doubles }
    let found = one.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    #expect(found.count == expected.count)
    #expect(zip(found, expected).allSatisfy { abs(Double($0) - $1) < 1e-5 * max(1, abs($1)) })
  }
}
