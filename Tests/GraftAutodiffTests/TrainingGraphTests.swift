// Whole training steps on the reference evaluator: the gradient that an update applied, against central
// differences of the loss.

import GraftAutodiff
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@Suite("Training graphs")
struct TrainingGraphTests {
  /// conv, normalization, relu, strided conv, residual sum, pool, dropout, gemm.
  private func network() throws -> Graph {
    var random = SplitMix(seed: 3)
    var graph = Graph(name: "small")
    func parameter(_ name: String, _ shape: [Int], around center: Double = 0) throws -> ValueID {
      // Multiples of 1/64, to which a step of 2⁻¹² can be added without rounding.
      let elements = (0..<shape.reduce(1, *)).map { _ in
        Float(((center + random.number(in: -0.5...0.5)) * 64).rounded() / 64)
      }
      return graph.addParameter(
        name, TensorType(.float32, TensorShape(shape)),
        Parameter(data: try TensorData(elements, shape: shape)))
    }
    let x = graph.addInput("image", TensorType(.float32, [.batch, 2, 6, 6]))
    let w1 = try parameter("conv1.weight", [4, 2, 3, 3])
    let a = try graph.append(
      Convolution(pads: [1, 1, 1, 1]), [x, w1], names: ["a"], origins: ["conv1"])[0]
    let b = try graph.append(
      BatchNormalization(),
      [
        a, try parameter("bn1.weight", [4], around: 1), try parameter("bn1.bias", [4]),
        try parameter("bn1.mean", [4]), try parameter("bn1.var", [4], around: 1),
      ], names: ["b"], origins: ["bn1"])[0]
    let c = try graph.append(Relu(), [b], names: ["c"], origins: ["relu1"])[0]
    let w2 = try parameter("layer.conv2.weight", [4, 4, 3, 3])
    let d = try graph.append(
      Convolution(strides: [2, 2], pads: [1, 1, 1, 1]), [c, w2], names: ["d"],
      origins: ["layer.conv2"])[0]
    let w3 = try parameter("layer.down.weight", [4, 4, 1, 1])
    let e = try graph.append(
      Convolution(strides: [2, 2]), [c, w3], names: ["e"], origins: ["layer.down"])[0]
    let f = try graph.append(Add(), [d, e], names: ["f"], origins: ["layer.add"])[0]
    let g = try graph.append(GlobalAveragePool(), [f], names: ["g"], origins: ["pool"])[0]
    let h = try graph.append(Flatten(), [g], names: ["h"], origins: ["flatten"])[0]
    let i = try graph.append(Dropout(ratio: 0.25), [h], names: ["i"], origins: ["drop"])[0]
    let y = try graph.append(
      Gemm(transposesB: true),
      [i, try parameter("fc.weight", [3, 4]), try parameter("fc.bias", [3])], names: ["logits"],
      origins: ["fc"])[0]
    let z = try graph.append(Softmax(axis: 1), [y], names: ["p"], origins: ["softmax"])[0]
    graph.outputs = [GraphOutput(name: "p", value: z)]
    return graph
  }

  private func inputs(rate: Double, graph: Graph) throws -> [String: HostTensor] {
    var random = SplitMix(seed: 11)
    var inputs: [String: HostTensor] = [:]
    for id in graph.inputs {
      let (name, shape) = (graph[id].name ?? "", try graph.type(of: id).shape.extents(batch: 4))
      switch name {
      case "hyperparameters":
        var rows = DenseTensor<Double>(shape: shape, repeating: 0)
        for row in 0..<shape[0] { rows.elements[row * 8] = rate }
        inputs[name] = .float64(rows)
      case "random":
        inputs[name] = .integer(try DenseTensor(shape: [4], elements: [5, 0, 1, 0]))
      case "settings":
        inputs[name] = .float64(
          try DenseTensor(shape: [8], elements: [.infinity, 0, 2, 0, 0, 0, 0, 0]))
      case "targets", "teacher_targets":
        inputs[name] = .float64(
          DenseTensor(shape: shape, repeating: 0).map { (_: Double) in random.number(in: 0...0.5) })
      default:
        inputs[name] = .float64(
          DenseTensor(shape: shape, repeating: 0).map { (_: Double) in random.number(in: -1...1) })
      }
    }
    return inputs
  }

  private func loss(_ graph: Graph, _ inputs: [String: HostTensor]) throws -> Double {
    var evaluator = ReferenceEvaluator(graph, precision: .double)
    return try evaluator.run(inputs)["loss"]?.doubles?.reduce(0, +) ?? .nan
  }

  @Test(
    "apply the gradient of the loss",
    arguments: [
      ("all", TrainingSpecification.Normalization.frozen, false), ("all", .train, false),
      ("layer", .frozen, true), ("none", .train, false),
    ])
  func update(
    unfreeze: String, normalization: TrainingSpecification.Normalization, distills: Bool
  ) throws {
    let parts = try NetworkParts(network(), unfreezing: try Unfreezing(unfreeze))
    let names = parts.tailParameters.filter {
      !$0.hasPrefix("bn1.mean") && !$0.hasPrefix("bn1.var")
    }
    let specification = TrainingSpecification(
      optimizer: .sgd(hasMomentum: false, isNesterov: false), normalization: normalization,
      distills: distills, clips: true,
      groups: Dictionary(uniqueKeysWithValues: names.map { ($0, $0.hasPrefix("fc") ? 0 : 1) }),
      groupNames: ["head", "tail"])
    let training = try TrainingGraph(tail: parts.tail, specification)
    try training.step.verify()
    try training.evaluation.verify()
    #expect(names.count == ["all": 7, "layer": 4, "none": 2][unfreeze])
    let inputs = try inputs(rate: 1, graph: training.step)
    var evaluator = ReferenceEvaluator(training.step, precision: .double)
    let outputs = try evaluator.run(inputs)
    for name in names {
      let id = try #require(training.step.parameter(named: name))
      let data = try #require(training.step[id].parameter?.data)
      let old = data.doubles()
      let new = try #require(outputs[name]?.doubles)
      let gradient = zip(old, new).map { $0 - $1 }
      let step = 1.0 / 4096
      let expected = try old.indices.map { index in
        let values = try [step, -step].map { change in
          var moved = old.map { Float($0) }
          moved[index] += Float(change)
          var graph = training.step
          var parameter = try #require(graph[id].parameter)
          parameter.data = try TensorData(moved, shape: data.shape)
          graph[id].definition = .parameter(parameter)
          return try loss(graph, inputs)
        }
        return (values[0] - values[1]) / (2 * step)
      }
      expectClose(gradient, expected, name)
    }
    let statistics = training.changed.filter { $0.hasPrefix("bn1.mean") || $0.hasPrefix("bn1.var") }
    #expect(statistics.count == (unfreeze == "all" && normalization == .train ? 2 : 0))
  }

  @Test("a trunk and its tail together are the network")
  func parts() throws {
    let graph = try network()
    let parts = try NetworkParts(graph, unfreezing: .scope("layer"))
    #expect(parts.cutNames == ["c"])
    #expect(
      parts.tailParameters == [
        "layer.conv2.weight", "layer.down.weight", "fc.weight", "fc.bias",
      ])
    var random = SplitMix(seed: 1)
    let image = HostTensor.float64(
      DenseTensor(shape: [2, 2, 6, 6], repeating: 0).map { (_: Double) in
        random.number(in: -1...1)
      })
    var observed: [Double] = []
    var whole = ReferenceEvaluator(graph, precision: .double)
    _ = try whole.run(["image": image]) { id, tensor in
      if graph[id].name == "logits" { observed = tensor.doubles ?? [] }
    }
    var trunk = ReferenceEvaluator(parts.trunk, precision: .double)
    var tail = ReferenceEvaluator(parts.tail, precision: .double)
    let found = try tail.run(try trunk.run(["image": image]))
    #expect(found["logits"]?.doubles == observed)
  }

  @Test("freeze lines that name nothing are refused with what is near")
  func scopes() throws {
    let graph = try network()
    let error = #expect(throws: GraftError.self) {
      try NetworkParts(graph, unfreezing: .scope("layr"))
    }
    #expect(error?.message == "no node or parameter is in the scope \"layr\"")
    #expect(error?.advice?.contains("\"layer\"") == true)
    #expect(throws: GraftError.self) { try NetworkParts(graph, unfreezing: .last(9)) }
    let last = try NetworkParts(graph, unfreezing: .last(1))
    #expect(last.tailParameters == ["layer.down.weight", "fc.weight", "fc.bias"])
    // "conv" is no component, "conv1" is.
    #expect(throws: GraftError.self) { try NetworkParts(graph, unfreezing: .scope("conv")) }
    #expect(try NetworkParts(graph, unfreezing: .scope("conv1")).cutNames == ["image"])
  }

  @Test("another head takes its features and keeps its names")
  func heads() throws {
    let graph = try network()
    let head = try Head(of: graph)
    #expect(head.classes == 3)
    #expect(head.features == 4)
    let linear = try graph.replacingHead(head, by: .linear, classes: 7, seed: 1)
    try linear.verify()
    #expect(linear.outputs.map { linear.type(of: $0.value).shape } == [[.batch, 7]])
    let weight = try #require(linear.parameter(named: "fc.weight"))
    let elements = try #require(linear[weight].parameter?.data).doubles()
    #expect(elements.count == 28)
    #expect(elements.allSatisfy { abs($0) <= 0.5 } && Set(elements).count > 20)
    let again = try graph.replacingHead(head, by: .linear, classes: 7, seed: 1)
    #expect(again[weight].parameter?.data?.doubles() == elements)
    let mlp = try graph.replacingHead(head, by: .mlp(hidden: 5), classes: 2, seed: 1)
    try mlp.verify()
    #expect(
      mlp.parameters.compactMap { mlp[$0].name }.filter { $0.hasPrefix("fc") } == [
        "fc.hidden.weight", "fc.hidden.bias", "fc.weight", "fc.bias",
      ])
  }
}
