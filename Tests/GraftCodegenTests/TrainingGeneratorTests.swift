// A whole training library from two graphs, against the reference evaluator: steps with micro-batches, clipping,
// dropout, running statistics and two groups and optimizers, then an evaluation; and what generators refuse.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftRuntime
import GraftTesting
import Testing

@testable import GraftCodegen

/// Graphs of a small network, forward and backward, as passes would leave them.
private struct TinyTraining {
  static let groupNames = ["tail", "head"]
  static let window = Window(kernel: [8, 7])

  var step: KernelHarness
  var evaluation: KernelHarness
  private var next: [(name: String, value: ValueID)] = []

  init(target: Target = .native) throws {
    step = KernelHarness(seed: 51, target: target)
    evaluation = KernelHarness(seed: 51, target: target)
    try buildStep()
    try buildEvaluation()
  }

  private func parameter(
    _ name: String, _ shape: [Int], group: String, in harness: inout KernelHarness
  ) throws -> ValueID {
    let count = shape.reduce(1, *)
    let isZero = group == "optimizer" || group == "accumulator"
    var random = SplitMix(seed: name.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })
    let elements = (0..<count).map { _ -> Float in
      isZero ? 0 : name.hasSuffix("variance") ? random.float(0.5...1.5) : random.float() * 0.5
    }
    return harness.graph.addParameter(
      name, TensorType(.float32, TensorShape(shape)),
      Parameter(isTrained: true, group: group, data: try TensorData(elements, shape: shape)))
  }

  private func weights(
    in harness: inout KernelHarness
  ) throws -> (conv: ValueID, scale: ValueID, shift: ValueID, w: ValueID, bias: ValueID) {
    (
      try parameter("conv.weight", [21, 3, 3, 3], group: "tail", in: &harness),
      try parameter("bn.weight", [21], group: "tail", in: &harness),
      try parameter("bn.bias", [21], group: "tail", in: &harness),
      try parameter("fc.weight", [5, 21], group: "head", in: &harness),
      try parameter("fc.bias", [5], group: "head", in: &harness)
    )
  }

  private mutating func buildStep() throws {
    var h = step
    let x = h.graph.addInput("x", TensorType(.float32, [.batch, 3, 8, 7]))
    let targets = h.graph.addInput("targets", TensorType(.float32, [.batch, 5]))
    let table = h.graph.addInput("hyperparameters", TensorType(.float32, [2, 8]))
    let settings = h.graph.addInput("settings", TensorType(.float32, [8]))
    let random = h.graph.addInput("random", TensorType(.int32, [4]))
    let p = try weights(in: &h)
    let oldMean = try parameter("bn.mean", [21], group: "statistics", in: &h)
    let oldVariance = try parameter("bn.variance", [21], group: "statistics", in: &h)
    let image = try h.convert(x, Layout(channelBlock: 1, borderHeight: 1, borderWidth: 1))
    let convolution = Convolution(pads: [1, 1, 1, 1])
    let c = try h.apply(convolution, [image, p.conv], layout: h.blocked)[0]
    let statistics = try h.apply(BatchStatistics(), [c])
    let (mean, variance) = (statistics[0], statistics[1])
    let normalized = try h.apply(
      BatchNormalization(epsilon: 1e-5), [c, p.scale, p.shift, mean, variance],
      layout: h.blocked)[0]
    let active = try h.apply(Relu(), [normalized], layout: h.blocked)[0]
    let pooled = try h.apply(GlobalAveragePool(), [active], layout: h.blocked)[0]
    let flat = try h.apply(Flatten(axis: 1), [try h.convert(pooled, .plain)])[0]
    let dropout = RandomDropout(ratio: 0.25, stream: 0)
    let dropped = try h.apply(dropout, [flat, random])[0]
    let logits = try h.apply(Gemm(transposesB: true), [dropped, p.w, p.bias])[0]
    let loss = try h.apply(CrossEntropy(), [logits, targets])[0]

    let dLogits = try h.apply(CrossEntropyGradient(), [logits, targets])[0]
    let dW = try h.apply(BatchOuterProduct(), [dLogits, dropped])[0]
    let dBias = try h.apply(ReduceSum(axes: [0]), [dLogits])[0]
    let dDropped = try h.apply(Gemm(), [dLogits, p.w])[0]
    let dFlat = try h.apply(dropout, [dDropped, random])[0]
    let dPooled = try h.apply(Reshape(shape: [.batch, 21, 1, 1]), [dFlat])[0]
    let dActive = try h.apply(
      AveragePoolGradient(
        pool: AveragePool(window: Self.window, ceil: false, countIncludePad: true),
        extents: [8, 7]), [try h.convert(dPooled, h.blocked)], layout: h.blocked)[0]
    let dNormalized = try h.apply(
      ActivationGradient(activation: .relu), [dActive, active], layout: h.blocked)[0]
    let dVectors = try h.apply(
      BatchNormalizationParameterGradient(epsilon: 1e-5), [dNormalized, c, mean, variance])
    let dC = try h.apply(
      BatchNormalizationInputGradient(epsilon: 1e-5),
      [dNormalized, c, p.scale, mean, variance] + dVectors, layout: h.blocked)[0]
    let dConv = try h.apply(
      ConvolutionWeightGradient(window: Window(kernel: [3, 3], pads: [1, 1, 1, 1])),
      [image, dC])[0]

    let sources = [
      ("conv.weight", p.conv, dConv, 0), ("bn.weight", p.scale, dVectors[0], 0),
      ("bn.bias", p.shift, dVectors[1], 0), ("fc.weight", p.w, dW, 1),
      ("fc.bias", p.bias, dBias, 1),
    ]
    var totals: [ValueID] = []
    for (name, weight, gradient, _) in sources {
      let shape = h.graph.type(of: weight).shape.constants ?? []
      let sum = try parameter("\(name)/gradient", shape, group: "accumulator", in: &h)
      let total = try h.apply(Accumulate(), [sum, gradient, settings])[0]
      totals.append(total)
      next.append(("\(name)/gradient", total))
    }
    let squares = try totals.map { try h.apply(SquareSum(), [$0])[0] }
    let factor = try h.apply(ClipFactor(), [settings] + squares)[0]
    for ((name, weight, _, group), total) in zip(sources, totals) {
      let shape = h.graph.type(of: weight).shape.constants ?? []
      func slot(_ kind: String) throws -> ValueID {
        try parameter("\(name)/\(kind)", shape, group: "optimizer", in: &h)
      }
      if name == "fc.bias" {
        let slots = [try slot("first_moment"), try slot("second_moment")]
        let results = try h.apply(
          AdamUpdate(group: group), [weight, total, table] + slots + [factor])
        let names = [name, "\(name)/first_moment", "\(name)/second_moment"]
        next += zip(names, results).map { ($0, $1) }
      } else {
        let results = try h.apply(
          SGDUpdate(group: group), [weight, total, table, try slot("momentum"), factor])
        next += zip([name, "\(name)/momentum"], results).map { ($0, $1) }
      }
    }
    // After the update, as autodiff leaves them; every micro-batch runs them all the same.
    for (name, old, new) in [
      ("bn.mean", oldMean, mean), ("bn.variance", oldVariance, statistics[2]),
    ] { next.append((name, try h.apply(MovingAverage(momentum: 0.1), [old, new])[0])) }
    h.graph.outputs =
      [GraphOutput(name: "loss", value: loss), GraphOutput(name: "logits", value: logits)]
      + next.map { GraphOutput(name: $0.name, value: $0.value) }
    step = h
  }

  private mutating func buildEvaluation() throws {
    var h = evaluation
    let x = h.graph.addInput("x", TensorType(.float32, [.batch, 3, 8, 7]))
    let p = try weights(in: &h)
    let mean = try parameter("bn.mean", [21], group: "statistics", in: &h)
    let variance = try parameter("bn.variance", [21], group: "statistics", in: &h)
    let image = try h.convert(x, Layout(channelBlock: 1, borderHeight: 1, borderWidth: 1))
    let c = try h.apply(
      Convolution(pads: [1, 1, 1, 1]), [image, p.conv], layout: h.blocked)[0]
    let normalized = try h.apply(
      BatchNormalization(epsilon: 1e-5), [c, p.scale, p.shift, mean, variance],
      layout: h.blocked)[0]
    let active = try h.apply(Relu(), [normalized], layout: h.blocked)[0]
    let pooled = try h.apply(GlobalAveragePool(), [active], layout: h.blocked)[0]
    let flat = try h.apply(Flatten(axis: 1), [try h.convert(pooled, .plain)])[0]
    let logits = try h.apply(Gemm(transposesB: true), [flat, p.w, p.bias])[0]
    h.graph.outputs = [GraphOutput(name: "logits", value: logits)]
    evaluation = h
  }

  func generate() throws -> GeneratedModel {
    try TrainingGenerator(target: step.target, kernelFiles: 2).generate(
      step: step.graph, stepPlan: KernelHarness.plan(step.graph), evaluation: evaluation.graph,
      evaluationPlan: KernelHarness.plan(evaluation.graph), groupNames: Self.groupNames)
  }
}

@Suite struct TrainingGeneratorTests {
  /// One call of a step.
  private struct Call {
    var batch: Int
    var continues = false
    var goesOn = false
  }

  @Test func stepsAgreeWithTheReference() throws {
    let training = try TinyTraining()
    let model = try training.generate()
    let folder = try KernelHarness.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = try Toolchain.find().compile(model, into: folder, extraFlags: ["-Werror"])
    #expect(path == folder + "/libtrain.so")
    var packed = Data()
    try model.packed.write { packed.append(contentsOf: $0) }
    try packed.write(to: URL(fileURLWithPath: folder + "/train.bin"))

    let library = try TrainingLibrary(path: path)
    #expect(library.description.groupNames == TinyTraining.groupNames)
    #expect(library.description.stepInputs.map(\.name) == ["x", "targets"])
    #expect(library.description.classCount == 5)
    let trainers = try [1, 2].map {
      try LoadedTrainer(
        library: library, bundle: folder, seed: 0x1_0000_0005, largestBatch: 4, threads: $0)
    }
    let rows: [[Float]] = [[0.1, 0.9, 0.01, 0, 0, 0], [0.05, 0.5, 0.02, 0.9, 0.99, 1e-6]]
    var reference = try ReferenceTraining(training.step.graph, rows: rows, seed: 0x1_0000_0005)
    var random = SplitMix(seed: 52)
    let calls = [
      Call(batch: 4), Call(batch: 3, goesOn: true), Call(batch: 1, continues: true), Call(batch: 2),
    ]
    for call in calls {
      let x = (0..<(call.batch * 168)).map { _ in random.float() }
      var targets = Array(repeating: Float(0), count: call.batch * 5)
      for n in 0..<call.batch { targets[n * 5 + random.int(0...4)] = 1 / Float(call.batch) }
      let expected = try reference.step(
        batch: call.batch, x: x, targets: targets, clip: 0.5, continues: call.continues,
        updates: !call.goesOn)
      let settings = LoadedTrainer.StepSettings(
        hyperparameters: rows.map {
          .init(
            learningRate: $0[0], momentum: $0[1], weightDecay: $0[2], beta1: $0[3], beta2: $0[4],
            epsilon: $0[5])
        }, clipNorm: 0.5, continuesAccumulation: call.continues, awaitsMicroBatches: call.goesOn)
      let found = try trainers.map {
        try $0.step(batch: call.batch, inputs: [x, targets], settings: settings)
      }
      #expect(found[0].logits.map(\.bitPattern) == found[1].logits.map(\.bitPattern))
      expectClose(found[0].loss, try #require(expected["loss"]), "loss")
      expectClose(found[0].logits, try #require(expected["logits"]), "logits")
      for (index, state) in library.description.states.enumerated() {
        let both = try trainers.map { try $0.state(index) }
        #expect(both[0].map(\.bitPattern) == both[1].map(\.bitPattern), "\(state.name)")
        expectClose(both[0], try reference.state(state.name), state.name)
      }
    }
    let x = (0..<(3 * 168)).map { _ in random.float() }
    let logits = try trainers[0].evaluate(batch: 3, inputs: [x])
    expectClose(
      logits, try reference.evaluate(training.evaluation.graph, batch: 3, x: x), "evaluation")
  }

  private func expectClose(_ found: [Float], _ expected: [Double], _ label: String) {
    let largest = max(1e-3, expected.map(abs).max() ?? 0)
    #expect(found.count == expected.count, "\(label)")
    for (index, pair) in zip(found, expected).enumerated() {
      guard abs(Double(pair.0) - pair.1) <= 2e-5 * largest else {
        Issue.record("\(label)[\(index)] is \(pair.0), expected \(pair.1)")
        return
      }
    }
  }

  @Test func theSameGraphsGiveTheSameLibrary() throws {
    let (one, two) = (try TinyTraining().generate(), try TinyTraining().generate())
    #expect(one.sources == two.sources)
    #expect(one.buildID == two.buildID)
  }

  /// Kernels need no header of the system's, so any clang compiles them for any target.
  @Test(arguments: [Target.x8664v4, .x8664v3, .aarch64, .generic])
  func kernelsCompileForEveryTarget(target: Target) throws {
    let model = try TinyTraining(target: target).generate()
    let folder = try KernelHarness.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for source in model.sources where source.name.hasPrefix("train_kernels") {
      try source.text.write(toFile: folder + "/" + source.name, atomically: true, encoding: .utf8)
      guard source.role == .kernel else { continue }
      let result = try Subprocess.run(
        Toolchain.find().clang,
        Toolchain.commonFlags + target.kernelFlags
          + ["-Werror", "-c", source.name, "-o", source.name + ".o"], in: folder)
      #expect(result.status == 0, "\(result.errors)")
    }
  }

  // MARK: What is refused

  private func expectRefusal(
    _ words: String, _ change: (inout Graph) throws -> Void,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws {
    var training = try TinyTraining()
    try change(&training.step.graph)
    let error = try #require(
      #expect(throws: GraftError.self, sourceLocation: sourceLocation) { try training.generate() })
    #expect("\(error)".contains(words), "\(error)", sourceLocation: sourceLocation)
  }

  /// A node that reads weights after their update would read the new ones, or half of each.
  @Test func stateIsNotReadAfterItWasWritten() throws {
    try expectRefusal("reads it after it was written") { graph in
      // The running variance, which follows, reads the mean that has just been moved.
      let mean = try #require(graph.parameter(named: "bn.mean"))
      let output = try #require(graph.outputs.first { $0.name == "bn.variance" })
      let writer = try #require(graph.producer(of: output.value))
      graph[writer.id].operands[1] = mean
    }
  }

  @Test func stateIsWrittenByUpdatesAlone() throws {
    try expectRefusal("does not write where it reads") { graph in
      let bias = try #require(graph.parameter(named: "bn.bias"))
      let writer = try #require(graph.nodes.first { $0.opcode == SquareSum.opcode })
      let doubled = graph.addNode(
        Sum.opcode, [bias, bias], types: [graph.type(of: bias)], before: writer.id)[0]
      let index = try #require(graph.outputs.firstIndex { $0.name == "bn.bias" })
      graph.outputs[index].value = doubled
    }
  }

  @Test func theUpdateComesLast() throws {
    try expectRefusal("after the optimizer's update has begun") { graph in
      let logits = try #require(graph.outputs.first { $0.name == "logits" }).value
      let late = try graph.append(Negate(), [logits])[0]
      graph.outputs[1].value = late
    }
  }

  @Test func outputsAreLossAndLogits() throws {
    try expectRefusal("outputs are loss and logits") { $0.outputs.swapAt(0, 1) }
  }
}

/// The same training in double precision, step by step, by the reference evaluator.
private struct ReferenceTraining {
  private var graph: Graph
  private let rows: [[Float]]
  private let seed: UInt64
  private var states: [String: DenseTensor<Double>] = [:]
  private var steps = 0
  private var updates = 0

  init(_ graph: Graph, rows: [[Float]], seed: UInt64) throws {
    (self.graph, self.rows, self.seed) = (graph, rows, seed)
    for id in graph.parameters {
      let name = graph[id].name ?? ""
      let data = try #require(graph[id].parameter?.data)
      states[name] = try DenseTensor(shape: data.shape, elements: data.doubles())
    }
  }

  func state(_ name: String) throws -> [Double] { try #require(states[name]).elements }

  /// `graph` with its state as inputs, run once.
  private func run(
    _ graph: Graph, _ inputs: [String: HostTensor]
  ) throws -> [String: [Double]] {
    var copy = Graph(name: "reference")
    var values: [ValueID: ValueID] = [:]
    var inputs = inputs
    for id in graph.inputs + graph.parameters {
      let name = graph[id].name ?? ""
      values[id] = copy.addInput(name, graph.type(of: id))
      if let state = states[name] { inputs[name] = .float64(state) }
    }
    for node in graph.nodes {
      let results = copy.addNode(
        node.opcode, node.operands.map { $0.flatMap { values[$0] } }, node.attributes,
        types: node.results.map { graph.type(of: $0) })
      for (old, new) in zip(node.results, results) { values[old] = new }
    }
    for output in graph.outputs {
      copy.outputs.append(GraphOutput(name: output.name, value: try #require(values[output.value])))
    }
    var evaluator = ReferenceEvaluator(copy, precision: .double)
    return try evaluator.run(inputs).mapValues { $0.doubles }
  }

  mutating func step(
    batch: Int, x: [Float], targets: [Float], clip: Double, continues: Bool, updates isUpdate: Bool
  ) throws -> [String: [Double]] {
    let t = Double(updates + 1)
    let table = rows.flatMap { row in
      row.map(Double.init)
        + [1 - pow(Double(row[3]), t), 1 - pow(Double(row[4]), t)]
    }
    let words = [Int(UInt32(truncatingIfNeeded: seed)), Int(seed >> 32), steps, 0]
    let results = try run(
      graph,
      [
        "x": .float64(try DenseTensor(shape: [batch, 3, 8, 7], elements: x.map(Double.init))),
        "targets": .float64(
          try DenseTensor(shape: [batch, 5], elements: targets.map(Double.init))),
        "hyperparameters": .float64(try DenseTensor(shape: [2, 8], elements: table)),
        "settings": .float64(
          try DenseTensor(shape: [8], elements: [clip, continues ? 1 : 0, 1, 0, 0, 0, 0, 0])),
        "random": .integer(try DenseTensor(shape: [4], elements: words.map { Dimension($0) })),
      ])
    for (name, state) in states {
      // A micro-batch that others follow stops before the update.
      let isEarly = name.hasSuffix("/gradient") || name == "bn.mean" || name == "bn.variance"
      guard isUpdate || isEarly, let new = results[name] else { continue }
      states[name] = try DenseTensor(shape: state.shape, elements: new)
    }
    steps += 1
    if isUpdate { updates += 1 }
    return results
  }

  func evaluate(_ graph: Graph, batch: Int, x: [Float]) throws -> [Double] {
    let results = try run(
      graph,
      ["x": .float64(try DenseTensor(shape: [batch, 3, 8, 7], elements: x.map(Double.init)))])
    return try #require(results["logits"])
  }
}
