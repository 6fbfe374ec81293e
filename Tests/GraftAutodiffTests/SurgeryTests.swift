// Heads as exporters write them, what is no weight, how networks end, which output has the classes. Expected
// numbers are closed forms.

import Foundation
import GraftAutodiff
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

/// A network of features [batch, 4] and what a test puts behind them.
private struct Builder {
  var graph = Graph(name: "network")
  let x: ValueID

  init() { x = graph.addInput("x", TensorType(.float32, [.batch, 4])) }

  mutating func parameter(
    _ name: String, _ shape: [Int], _ value: Float? = nil, isLiteral: Bool = false
  ) throws -> ValueID {
    let elements = (0..<shape.reduce(1, *)).map { value ?? Float($0 % 5) / 4 - 0.4 }
    return graph.addParameter(
      name, TensorType(.float32, TensorShape(shape)),
      Parameter(isLiteral: isLiteral, data: try TensorData(elements, shape: shape)))
  }

  mutating func node(_ operation: any Operator, _ operands: [ValueID]) throws -> ValueID {
    try graph.append(operation, operands, origins: ["\(Swift.type(of: operation))"])[0]
  }

  mutating func gemm(_ name: String, _ units: Int) throws -> ValueID {
    try node(
      Gemm(transposesB: true),
      [x, parameter("\(name).weight", [units, 4]), parameter("\(name).bias", [units])])
  }

  mutating func output(_ name: String, _ value: ValueID) {
    graph.outputs.append(GraphOutput(name: name, value: value))
  }
}

@Suite("Surgery")
struct SurgeryTests {
  @Test("a head on a named value reads its features, and what comes after is left out")
  func headOnAValue() throws {
    var builder = Builder()
    let tokens = builder.graph.addInput("tokens", TensorType(.float32, [.batch, 5, 4]))
    let image = builder.graph.addInput("image", TensorType(.float32, [.batch, 3, 2, 2]))
    let features = try builder.graph.append(
      Relu(), [try builder.gemm("a", 6)], names: ["features"], origins: ["act"])[0]
    let last = try builder.parameter("b.weight", [6, 2])
    builder.output("y", try builder.node(Gemm(), [features, last]))
    for (value, name) in [(tokens, "t"), (image, "i")] {
      let made = try builder.graph.append(Relu(), [value], names: [name], origins: [])[0]
      builder.output(name, made)
    }
    try builder.graph.verify()
    for (name, width) in [("features", 6), ("act", 6), ("t", 4), ("i", 3)] {
      let graph = try HeadReplacement(name).prepared(builder.graph)
      try graph.verify()
      #expect(graph.outputs.map(\.name) == ["y"])
      let head = try Head(of: graph)
      #expect(head.features == width && head.classes == 1)
      #expect(graph.nodes.last?.id == head.node.id)
      #expect(graph.parameter(named: "b.weight") == nil)
      let replaced = try graph.replacingHead(
        head, by: HeadReplacement(name), classes: 7, seed: 1)
      #expect(replaced.outputs.map { replaced.type(of: $0.value).shape } == [[.batch, 7]])
    }
    let kept = try HeadReplacement.linear.prepared(builder.graph)
    #expect(kept == builder.graph)
    for name in ["nothing", "x"] {
      #expect(throws: GraftError.self) { try HeadReplacement(name).prepared(builder.graph) }
    }
    #expect(throws: GraftError.self) { try HeadReplacement("") }
  }

  @Test("what stands where an operator has numbers of its own trains, whatever the operator")
  func rolesTrain() throws {
    for fixture in try OperatorFixture.all() {
      let (operation, operands) = try fixture.imported()
      guard operands.allSatisfy({ $0 == nil || $0?.dtype == .float32 }) else { continue }
      var graph = Graph(name: "roles")
      var own: [ValueID] = []
      let values = try operands.enumerated().map { index, tensor -> ValueID? in
        guard let tensor else { return nil }
        let role = Swift.type(of: operation).role(at: index)
        guard [.weight, .scale, .table].contains(role) else {
          return graph.addInput("x\(index)", tensor.type)
        }
        own.append(
          graph.addParameter(
            "layer.\(role)", tensor.type, Parameter(data: try tensor.data)))
        return own.last
      }
      try graph.append(operation, values)
      let literals = Literals(graph)
      for value in own { #expect(!literals.contains(value), "\(fixture.op)") }
    }
  }

  @Test("a matmul and the Add behind it are one head, on either side", arguments: [false, true])
  func matmulAndAdd(constantFirst: Bool) throws {
    var net = Builder()
    let product = try net.node(MatrixMultiply(), [net.x, net.parameter("dense/kernel", [4, 5])])
    let bias = try net.parameter("dense/bias", [5])
    net.output("y", try net.node(Add(), constantFirst ? [bias, product] : [product, bias]))
    let made = try net.graph.replacingHead(
      Head(of: net.graph), by: .linear, classes: 3, seed: 0)
    #expect(made.nodes.map(\.opcode) == [Gemm.opcode])
    #expect(made.parameters.compactMap { made[$0].name } == ["dense/kernel", "dense/bias"])
    #expect(made.type(of: made.outputs[0].value).shape == [.batch, 3])
  }

  @Test("what knows the number of classes is resized with the head")
  func resized() throws {
    var net = Builder()
    let z = try net.gemm("fc", 5)
    let scaled = try net.node(Divide(), [z, net.parameter("temperature", [5], 2)])
    let half = try net.node(Multiply(), [scaled, net.parameter("half", [], 0.5)])
    let normalized = try net.node(
      BatchNormalization(),
      [
        half, net.parameter("bn.weight", [5]), net.parameter("bn.bias", [5]),
        net.parameter("bn.mean", [5]), net.parameter("bn.var", [5], 1),
      ])
    let shaped = try net.node(Reshape(shape: [.batch, 1, 5]), [normalized])
    net.output("y", try net.node(Softmax(axis: 2), [shaped]))
    let made = try net.graph.replacingHead(
      Head(of: net.graph), by: .linear, classes: 3, seed: 0)
    #expect(made.type(of: made.outputs[0].value).shape == [.batch, 1, 3])
    func values(_ name: String) throws -> [Float]? {
      let id = try #require(made.parameter(named: name))
      return made[id].parameter?.data?.floats()
    }
    #expect(try values("temperature") == [2, 2, 2])
    #expect(try values("half") == [0.5])
    #expect(try values("bn.weight") == [1, 1, 1] && values("bn.mean") == [0, 0, 0])
    #expect(try values("bn.bias") == [0, 0, 0] && values("bn.var") == [1, 1, 1])
  }

  @Test("what takes no other number of classes is named")
  func refused() throws {
    var net = Builder()
    let z = try net.gemm("fc", 5)
    net.output(
      "y", try net.node(Slice(axes: [1], starts: [1], extents: [4], steps: [1]), [z]))
    let head = try Head(of: net.graph)
    let error = #expect(throws: GraftError.self) {
      try net.graph.replacingHead(head, by: .linear, classes: 3, seed: 0)
    }
    #expect(error?.message.contains("one value for each of the head's 5 classes") == true)
    #expect(error?.advice?.contains("--head keep") == true)
    #expect(try net.graph.replacingHead(head, by: .linear, classes: 5, seed: 0).outputs.count == 1)
  }

  @Test("heads that are joined are refused")
  func joined() throws {
    var net = Builder()
    let (a, b) = (try net.gemm("a", 2), try net.gemm("b", 3))
    net.output("y", try net.node(Concatenate(axis: 1), [a, b]))
    let error = #expect(throws: GraftError.self) { try Head(of: net.graph) }
    #expect(error?.message.contains("combines several values") == true)
    #expect(error?.advice != nil)
  }

  @Test("a head that is kept may be any layer, with paths around it")
  func keptLayer() throws {
    var net = Builder()
    let first = try net.gemm("first", 4)
    let weight = try net.parameter("last.weight", [4, 4])
    let last = try net.node(Gemm(transposesA: true), [weight, weight])
    let residual = try net.node(MatrixMultiply(), [first, last])
    net.output("y", try net.node(Subtract(), [net.x, residual]))
    #expect(throws: GraftError.self) { try Head(of: net.graph) }
    #expect(try Head.lastLayer(of: net.graph).results == [residual])
    let parts = try NetworkParts(net.graph, unfreezing: .none, answer: .output)
    #expect(parts.tailParameters == ["last.weight"])
    #expect(parts.cut == [net.x, first])
  }

  @Test("numbers of the network's code do not train, scales of layers do")
  func literals() throws {
    var net = Builder()
    let centered = try net.node(Subtract(), [net.x, net.parameter("mean", [4])])
    let scaled = try net.node(Multiply(), [centered, net.parameter("early", [4])])
    let hidden = try net.node(
      Gemm(transposesB: true), [scaled, net.parameter("hidden.weight", [4, 4])])
    let gamma = try net.node(Multiply(), [hidden, net.parameter("onnx::Mul_7", [4])])
    // Weight normalization: direction, norm and size are of weights alone.
    let size = try net.node(
      Divide(), [net.parameter("weight_g", [4]), net.parameter("weight_v", [4])])
    let sized = try net.node(Multiply(), [gamma, size])
    let half = try net.node(Multiply(), [sized, net.parameter("onnx::Mul_8", [], 0.5)])
    let gain = try net.node(Multiply(), [half, net.parameter("block.gain", [], 0.5)])
    let stated = try net.node(
      Add(), [gain, net.parameter("/Constant_output_0", [4], isLiteral: true)])
    let normalized = try net.node(
      BatchNormalization(),
      [
        stated, net.parameter("ones", [4], 1), net.parameter("zeros", [4], 0),
        net.parameter("running", [4]), net.parameter("var", [4], 1),
      ])
    let affine = try net.node(
      BatchNormalization(),
      [
        normalized, net.parameter("bn.weight", [4], 1), net.parameter("bn.bias", [4], 0),
        net.parameter("bn.mean", [4]), net.parameter("bn.var", [4], 1),
      ])
    let product = try net.node(MatrixMultiply(), [affine, net.parameter("k", [4, 1])])
    net.output("y", try net.node(Add(), [product, net.parameter("bias", [1])]))
    let parts = try NetworkParts(net.graph, unfreezing: .all)
    let reasons = Dictionary(uniqueKeysWithValues: parts.tailLiterals.map { ($0.name, $0.reason) })
    #expect(
      reasons == [
        "mean": .statistic, "early": .preprocessing, "onnx::Mul_8": .scalar,
        "/Constant_output_0": .constant, "ones": .identity, "zeros": .identity,
      ])
    #expect(
      Set(parts.tailParameters).isSuperset(of: [
        "hidden.weight", "onnx::Mul_7", "block.gain", "bn.weight", "bn.bias", "k", "bias",
        "weight_g", "weight_v",
      ]))
  }

  @Test("a product by numbers of the network's code is no layer")
  func literalProduct() throws {
    var net = Builder()
    let fixed = try net.node(
      MatrixMultiply(), [net.x, net.parameter("rotation", [4, 4], isLiteral: true)])
    let hidden = try net.node(MatrixMultiply(), [fixed, net.parameter("w", [4, 4])])
    let turned = try net.node(
      MatrixMultiply(), [hidden, net.parameter("turn", [4, 4], isLiteral: true)])
    net.output("y", try net.node(MatrixMultiply(), [turned, net.parameter("k", [4, 2])]))
    #expect(try NetworkParts(net.graph, unfreezing: .last(1)).tailParameters == ["w", "k"])
    #expect(throws: GraftError.self) { try NetworkParts(net.graph, unfreezing: .last(2)) }
  }

  private func ending(
    units: Int = 1, _ body: (inout Builder, ValueID) throws -> ValueID
  ) throws -> Ending {
    var net = Builder()
    let z = try net.gemm("fc", units)
    let y = try body(&net, z)
    return try Ending(of: y, in: net.graph)
  }

  @Test("a sigmoid is seen through what changes nothing")
  func sigmoid() throws {
    let plain = try ending { try $0.node(Sigmoid(), [$1]) }
    #expect(plain.isBinary && plain.classes == 2)
    let wrapped: [any Operator] = [
      Clip(low: 1e-7, high: 1 - 1e-7), Squeeze(axes: [1]), Identity(), Reshape(shape: [.batch]),
      Flatten(), Cast(to: .float32), Dropout(ratio: 0.5),
    ]
    for operation in wrapped {
      let found = try ending { net, z in
        try net.node(operation, [net.node(Sigmoid(), [z])])
      }
      #expect(found.isBinary, "\(Swift.type(of: operation).opcode)")
    }
    let times = try ending { net, z in
      try net.node(Multiply(), [net.parameter("one", [], 1), net.node(Sigmoid(), [z])])
    }
    #expect(times.isBinary)
    #expect(try ending(units: 4) { try $0.node(Sigmoid(), [$1]) }.isMultiLabel)
  }

  @Test("what is no ending of a classifier is told")
  func otherEndings() throws {
    #expect(try ending { try $0.node(Tanh(), [$1]) }.activation == .other(Tanh.opcode))
    let twice = try ending { net, z in
      try net.node(Multiply(), [net.node(Sigmoid(), [z]), net.parameter("two", [], 2)])
    }
    #expect(twice.activation == .other(Multiply.opcode))
    let pair = try ending { net, z in
      let p = try net.node(Sigmoid(), [z])
      let rest = try net.node(Subtract(), [net.parameter("one", [], 1), p])
      return try net.node(Concatenate(axis: 1), [rest, p])
    }
    #expect(pair.activation == .other(Concatenate.opcode))
    let narrow = try ending { try $0.node(Clip(low: -1, high: 0.5), [$1]) }
    #expect(narrow.activation == .other(Clip.opcode))
    #expect(try ending(units: 3) { $1 }.activation == .none)
    #expect(
      try ending(units: 3) { try $0.node(LogSoftmax(axis: 1), [$1]) }.activation == .logSoftmax)
  }

  @Test("of several outputs the one that looks like classes is taken")
  func outputs() throws {
    var net = Builder()
    let hidden = try net.gemm("hidden", 4)
    net.output("features", try net.node(Relu(), [hidden]))
    let z = try net.node(Gemm(transposesB: true), [hidden, net.parameter("fc.weight", [5, 4])])
    net.output("side", try net.gemm("side", 5))
    net.output("logits", z)
    #expect(try net.graph.classOutput(labels: nil) == 2)
    #expect(try net.graph.classOutput(labels: 4) == 0)
    let chosen = try net.graph.keepingOutput("side", labels: nil)
    #expect(chosen.outputs.map(\.name) == ["side"] && chosen.nodeCount == 1)
    let error = #expect(throws: GraftError.self) {
      try net.graph.keepingOutput("nothing", labels: nil)
    }
    #expect(error?.advice?.contains("\"side\"") == true)
  }

  @Test("binary cross-entropy is PyTorch's BCEWithLogitsLoss, and its gradient sigmoid(z) − t")
  func binaryCrossEntropy() throws {
    var net = Builder()
    net.output("y", try net.node(Sigmoid(), [net.gemm("fc", 3)]))
    let parts = try NetworkParts(net.graph, unfreezing: .all)
    let training = try TrainingGraph(
      tail: parts.tail,
      TrainingSpecification(
        loss: .binaryCrossEntropy, optimizer: .sgd(hasMomentum: false, isNesterov: false),
        groups: ["fc.bias": 0], groupNames: ["head"]))
    let x: [Double] = [1, -2, 0.5, 3, 40, -1, 0, 2]
    let targets: [Double] = [1, 0, 1, 0, 0, 1]
    func parameter(_ name: String) throws -> [Double] {
      let id = try #require(training.step.parameter(named: name))
      return try #require(training.step[id].parameter?.data).doubles()
    }
    let (weight, bias) = (try parameter("fc.weight"), try parameter("fc.bias"))
    let logits = (0..<6).map { index -> Double in
      var sum = bias[index % 3]
      for feature in 0..<4 { sum += x[index / 3 * 4 + feature] * weight[index % 3 * 4 + feature] }
      return sum
    }
    let pairs = targets.flatMap { [(1 - $0) / 6, $0 / 6] }
    var evaluator = ReferenceEvaluator(training.step, precision: .double)
    let outputs = try evaluator.run([
      "x": .float64(DenseTensor(shape: [2, 4], elements: x)),
      "targets": .float64(DenseTensor(shape: [2, 3, 2], elements: pairs)),
      "hyperparameters": .float64(
        DenseTensor(
          shape: [1, Hyperparameter.allCases.count],
          elements: Hyperparameter.allCases.map { $0 == .learningRate ? 1 : 0 })),
    ])
    let losses = zip(logits, targets).map { logit, target -> Double in
      let rest: Double = log1p(exp(-abs(logit)))
      return max(logit, 0) - logit * target + rest
    }
    let loss = try #require(outputs["loss"]?.doubles).reduce(0, +)
    #expect(abs(loss - losses.reduce(0, +) / 6) < 1e-9)
    let new = try #require(outputs["fc.bias"]?.doubles)
    for unit in 0..<3 {
      var gradient = 0.0
      for index in [unit, unit + 3] {
        let probability: Double = 1 / (1 + exp(-logits[index]))
        gradient += (probability - targets[index]) / 6
      }
      #expect(abs(bias[unit] - new[unit] - gradient) < 1e-9)
    }
  }

  @Test("the nearest scopes share something with what was asked for")
  func nearestScopes() throws {
    var net = Builder()
    let hidden = try net.node(
      Gemm(transposesB: true), [net.x, net.parameter("layers.0.weight", [4, 4])])
    net.output(
      "y",
      try net.node(Gemm(transposesB: true), [hidden, net.parameter("classifier.weight", [2, 4])]))
    let typo = #expect(throws: GraftError.self) {
      try NetworkParts(net.graph, unfreezing: .scope("clasifier"))
    }
    #expect(typo?.advice?.contains("\"classifier\"") == true)
    let foreign = #expect(throws: GraftError.self) {
      try NetworkParts(net.graph, unfreezing: .scope("fc"))
    }
    #expect(foreign?.advice?.contains("\"0\"") == false)
    #expect(foreign?.advice?.contains("\"classifier\"") == true)
  }
}
