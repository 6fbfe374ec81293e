// Builds small graphs, generates and compiles them, runs them and compares with the reference evaluator
// in double precision.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftRuntime
import GraftTesting
import Testing

@testable import GraftCodegen

/// Foundation has a Dimension of its own.
typealias Dimension = GraftIR.Dimension

extension SplitMix {
  mutating func float(_ range: ClosedRange<Float> = -1...1) -> Float { number(in: range) }
  mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
}

/// A graph under construction with the layouts that passes would give it.
struct KernelHarness {
  var graph = Graph(name: "kernels \"*/ under test")
  var random: SplitMix
  var target: Target
  /// Inputs that are not to be random, and how each number of the others becomes a legal one.
  var given: [ValueID: [Float]] = [:]
  var mapped: [ValueID: (Float) -> Float] = [:]

  var convolutions: ConvolutionChoices
  /// Whether factors may be rounded to bfloat16.
  var roundsFactors = false
  /// Images of a batch that go through the network together.
  var parts: BatchParts?

  init(
    seed: UInt64, target: Target = .native, convolutions: ConvolutionAlgorithm? = nil
  ) {
    self.convolutions = ConvolutionChoices(convolutions)
    random = SplitMix(seed: seed)
    self.target = target
  }

  // MARK: Building

  mutating func parameter(_ shape: [Int], scale: Float = 1) throws -> ValueID {
    let elements = (0..<shape.reduce(1, *)).map { _ in random.float() * scale }
    return graph.addParameter(
      graph.unusedName("p"), TensorType(.float32, TensorShape(shape)),
      Parameter(data: try TensorData(elements, shape: shape)))
  }

  mutating func input(_ dimensions: [Dimension]) -> ValueID {
    graph.addInput(graph.unusedName("in"), TensorType(.float32, TensorShape(dimensions)))
  }

  /// An input of the same numbers on every run.
  mutating func input(_ shape: [Int], given numbers: [Float]) -> ValueID {
    let value = input(shape.map { Dimension($0) })
    given[value] = numbers
    return value
  }

  /// An input [N, channels, height, width] brought into a blocked layout, or a planar one.
  mutating func image(
    _ shape: [Int], border: (Int, Int) = (0, 0), isPlanar: Bool = false
  ) throws -> ValueID {
    let plain = input([.batch] + shape.map { Dimension($0) })
    return try convert(
      plain,
      Layout(
        channelBlock: isPlanar ? 1 : target.lanes, borderHeight: border.0, borderWidth: border.1))
  }

  mutating func convert(_ value: ValueID, _ layout: Layout) throws -> ValueID {
    guard graph.type(of: value).layout != layout else { return value }
    let result = try graph.append(ConvertLayout(), [value])[0]
    graph[result].type.layout = layout
    return result
  }

  /// Adds a node whose result lies as `layout` says; blocked without a border where it has rank 4.
  mutating func apply(
    _ operation: any GraftOps.Operator, _ operands: [ValueID?], layout: Layout? = nil
  ) throws -> [ValueID] {
    let results = try graph.append(operation, operands, origins: ["node"])
    for result in results {
      graph[result].type.layout = layout ?? .plain
    }
    return results
  }

  /// Makes `value` an output in plain layout.
  mutating func output(_ value: ValueID) throws {
    let plain = try convert(value, .plain)
    graph.outputs.append(GraphOutput(name: "out\(graph.outputs.count)", value: plain))
  }

  var blocked: Layout { .blocked(target.lanes) }

  func blocked(border: (height: Int, width: Int)) -> Layout {
    .blocked(target.lanes, border: border)
  }

  // MARK: Running

  /// A place of its own for every value.
  static func plan(_ graph: Graph) throws -> MemoryPlan {
    var plan = MemoryPlan()
    let outputs = Set(graph.outputs.map(\.value))
    for node in graph.nodes {
      for result in node.results {
        let type = graph.type(of: result)
        if outputs.contains(result) && type.layout.isPlain { continue }
        let bytes = try #require(type.storedByteCount)
        let size = (bytes.coefficient + 63) / 64 * 64
        let offset = bytes.isBatch ? plan.arenaBytesPerBatch : plan.fixedBytes
        plan.placements[result] = Placement(
          offset: offset, byteCount: size, isPerBatch: bytes.isBatch, lifetime: 0...0)
        if bytes.isBatch { plan.arenaBytesPerBatch += size } else { plan.fixedBytes += size }
      }
    }
    return plan
  }

  static func temporaryFolder() throws -> String {
    let folder = FileManager.default.temporaryDirectory.path + "/graft-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    return folder
  }

  /// Generates, compiles and writes packed.bin into a new folder.
  static func build(
    _ graph: Graph, plan: MemoryPlan? = nil, target: Target = .native, extraFlags: [String] = [],
    convolutions: ConvolutionChoices = ConvolutionChoices(), roundsFactors: Bool = false,
    parts: BatchParts? = nil
  ) throws -> String {
    let folder = try temporaryFolder()
    var generator = CodeGenerator(target: target, kernelFiles: 2)
    generator.convolutions = convolutions
    generator.roundsFactors = roundsFactors
    generator.parts = parts
    let model = try generator.generate(graph: graph, plan: plan ?? Self.plan(graph))
    try Toolchain.find().compile(model, into: folder, extraFlags: extraFlags + ["-Werror"])
    var packed = Data()
    try model.packed.write { packed.append(contentsOf: $0) }
    try packed.write(to: URL(fileURLWithPath: folder + "/packed.bin"))
    return folder
  }

  /// What is worth measuring of its convolutions.
  func candidates() throws -> [ConvolutionSite: [ConvolutionVariant]] {
    var generator = CodeGenerator(target: target)
    generator.convolutions = convolutions
    generator.roundsFactors = roundsFactors
    return try generator.candidates(graph: graph)
  }

  /// The schedule that is chosen for each node, in order.
  func schedules(typicalBatch: Int = 1) throws -> [any KernelSchedule] {
    let selection = try KernelSelection(
      SelectionContext(
        graph: graph, target: target, typicalBatch: typicalBatch, preferences: convolutions,
        roundsFactors: roundsFactors))
    return try graph.nodes.map { try selection.choice(for: $0).schedule }
  }

  /// The graph as C in one file of kernels.
  func generate() throws -> GeneratedModel {
    var generator = CodeGenerator(target: target, kernelFiles: 1)
    generator.convolutions = convolutions
    generator.roundsFactors = roundsFactors
    return try generator.generate(graph: graph, plan: try Self.plan(graph))
  }

  /// Runs images one by one and as a batch, on one thread and on two: all bits must be the same.
  mutating func checkBatchPositions(batch: Int) throws {
    let folder = try Self.build(
      graph, target: target, convolutions: convolutions, roundsFactors: roundsFactors, parts: parts)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let library = try ModelLibrary(path: folder + "/libmodel.so")
    let sizes = try graph.inputs.map {
      try graph.type(of: $0).shape.extents(batch: 1).reduce(1, *)
    }
    let images = (0..<batch).map { _ in sizes.map { (0..<$0).map { _ in random.float() } } }
    for threads in [1, 2] {
      let session = try LoadedModel(
        library: library, bundle: folder, largestBatch: batch, threads: threads)
      let together = try session.run(
        batch: batch, inputs: sizes.indices.map { input in images.flatMap { $0[input] } })
      for (position, image) in images.enumerated() {
        let alone = try session.run(batch: 1, inputs: image)
        for (one, all) in zip(alone, together) {
          let part = all[(position * one.count)..<((position + 1) * one.count)]
          #expect(
            one.map(\.bitPattern) == part.map(\.bitPattern),
            "image \(position) of \(batch) on \(threads) threads")
        }
      }
    }
  }

  /// Runs the graph at each batch and compares every output with the reference.
  ///
  /// Batches run one after the other in one session, so that borders and lanes that a kernel forgets
  /// hold what the run before left there.
  mutating func check(
    batches: [Int] = [3, 1, 2], threads: [Int] = [1, 2], tolerance: Double = 2e-6,
    range: ClosedRange<Float> = -1...1, sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    let folder = try Self.build(
      graph, target: target, convolutions: convolutions, roundsFactors: roundsFactors)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let library = try ModelLibrary(path: folder + "/libmodel.so")
    let sessions = try threads.map {
      try LoadedModel(
        library: library, bundle: folder, largestBatch: batches.max() ?? 1, threads: $0)
    }
    for batch in batches {
      let inputs = try makeInputs(batch: batch, range: range)
      let expected = try reference(inputs)
      var first: [[Float]]?
      for session in sessions {
        let found = try run(session, batch: batch, inputs.map(\.elements))
        if let first {
          #expect(
            first.map { $0.map(\.bitPattern) } == found.map { $0.map(\.bitPattern) },
            "\(session.threads) threads give other bits at batch \(batch)",
            sourceLocation: sourceLocation)
        }
        first = found
        try compare(found, expected, batch: batch, tolerance: tolerance, sourceLocation)
      }
    }
  }

  /// Runs the graph on one thread and on two in processes of its own, whose code ends at the first access
  /// outside of what it was given and at the first undefined operation.
  mutating func checkSanitized(
    batch: Int = 2, tolerance: Double = 2e-6,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    let folder = try Self.build(
      graph, target: target, extraFlags: flags, convolutions: convolutions,
      roundsFactors: roundsFactors)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Self.compileExample(into: folder, flags: flags)
    let inputs = try makeInputs(batch: batch, range: -1...1)
    let expected = try reference(inputs)
    for threads in [1, 2] {
      let bytes = try #require(
        try BundleTests.run(
          folder + "/run", [folder, "\(batch)", "\(threads)"], input: inputs.flatMap(\.elements)),
        sourceLocation: sourceLocation)
      var rest = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }[...]
      let found = graph.outputs.map { output in
        let values = Array(rest.prefix(expected[output.name]?.doubles.count ?? 0))
        rest = rest.dropFirst(values.count)
        return values
      }
      #expect(rest.isEmpty, sourceLocation: sourceLocation)
      try compare(found, expected, batch: batch, tolerance: tolerance, sourceLocation)
    }
  }

  /// docs/examples/run_bundle.c as `run` in the folder of a bundle.
  static func compileExample(into folder: String, flags: [String]) throws {
    let compiled = try BundleTests.run(
      Toolchain.find().clang,
      ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1"] + flags + [
        BundleTests.package + "/docs/examples/run_bundle.c", "-I", folder, "-ldl", "-o",
        folder + "/run",
      ])
    try #require(compiled != nil)
  }

  /// Runs a library on the bits of floats, whatever its inputs are; outputs are float32.
  private func run(_ session: LoadedModel, batch: Int, _ inputs: [[Float]]) throws -> [[Float]] {
    func buffer(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
      let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
      buffer.initialize(repeating: 0)
      return buffer
    }
    let given = inputs.map { numbers in
      let buffer = buffer(numbers.count)
      _ = buffer.update(fromContentsOf: numbers)
      return buffer
    }
    let made = try graph.outputs.map {
      buffer(try graph.type(of: $0.value).shape.extents(batch: batch).reduce(1, *))
    }
    defer { for buffer in given + made { buffer.deallocate() } }
    try session.run(
      batch: batch, inputs: given.map { UnsafeRawBufferPointer($0) },
      outputs: made.map { UnsafeMutableRawBufferPointer($0) })
    return made.map(Array.init)
  }

  /// Tensors for the inputs, in their order.
  private mutating func makeInputs(
    batch: Int, range: ClosedRange<Float>
  ) throws -> [DenseTensor<Float>] {
    try graph.inputs.map { id in
      let shape = try graph.type(of: id).shape.extents(batch: batch)
      let numbers = (0..<shape.reduce(1, *)).map { _ in random.float(range) }
      return try DenseTensor(
        shape: shape, elements: given[id] ?? mapped[id].map { numbers.map($0) } ?? numbers)
    }
  }

  /// What the reference evaluator makes of the inputs, in double precision.
  private func reference(_ inputs: [DenseTensor<Float>]) throws -> [String: HostTensor] {
    var evaluator = ReferenceEvaluator(graph, precision: .double)
    let named = zip(graph.inputs, inputs).map {
      (graph[$0].name ?? "", reference(of: $1, like: graph.type(of: $0)))
    }
    return try evaluator.run(Dictionary(uniqueKeysWithValues: named))
  }

  private func compare(
    _ found: [[Float]], _ expected: [String: HostTensor], batch: Int, tolerance: Double,
    _ sourceLocation: Testing.SourceLocation
  ) throws {
    for (output, values) in zip(graph.outputs, found) {
      compare(
        values, try #require(expected[output.name]).doubles, tolerance: tolerance,
        "\(output.name) at batch \(batch): \(line(of: output.value))", sourceLocation)
    }
  }

  /// Integers cross the interface of the test as the floats of the same bits.
  private func reference(of tensor: DenseTensor<Float>, like type: TensorType) -> HostTensor {
    type.dtype.isFloatingPoint
      ? .float64(tensor.map(Double.init))
      : .integer(tensor.map { Dimension(Int(Int32(bitPattern: $0.bitPattern))) })
  }

  /// The line of the node that computes an output, past the conversion to plain layout.
  private func line(of value: ValueID) -> String {
    guard let node = graph.producer(of: value) else { return "" }
    if node.opcode == ConvertLayout.opcode, let before = node.operand(0),
      let producer = graph.producer(of: before)
    {
      return graph.line(of: producer)
    }
    return graph.line(of: node)
  }

  private func compare(
    _ found: [Float], _ expected: [Double], tolerance: Double, _ label: String,
    _ sourceLocation: Testing.SourceLocation
  ) {
    guard found.count == expected.count else {
      Issue.record("\(label): \(found.count) elements, expected \(expected.count)")
      return
    }
    let largest = max(1, expected.lazy.map(abs).filter(\.isFinite).max() ?? 1)
    for (index, pair) in zip(found, expected).enumerated() {
      let (value, reference) = (Double(pair.0), pair.1)
      let agrees =
        reference.isFinite
        ? abs(value - reference) <= tolerance * largest
        : value == Double(Float(reference)) || (value.isNaN && reference.isNaN)
      if !agrees {
        Issue.record(
          "\(label): element \(index) of \(found.count) is \(value), expected \(reference)",
          sourceLocation: sourceLocation)
        return
      }
    }
  }
}

extension Target {
  /// The targets of kernels that this machine can run.
  static let tested = [x8664v4, x8664v3, generic].filter(\.isRunnable)
}

extension HostTensor {
  var doubles: [Double] {
    switch self {
    case .float32(let tensor): tensor.elements.map(Double.init)
    case .float64(let tensor): tensor.elements
    case .integer(let tensor): tensor.elements.map { Double($0.coefficient) }
    }
  }
}
