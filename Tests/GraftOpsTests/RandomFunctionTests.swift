// Random numbers by what is known of their distributions, since other programs draw others.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps
import Testing

@Suite("Random numbers") struct RandomFunctionTests {
  /// The elements that a function's node gives for inputs of these values.
  private func draw(
    _ opType: String, _ attributes: [String: ONNXAttributeValue], name: String = "node",
    _ input: (shape: [Int], elements: [Float])? = nil
  ) throws -> (type: TensorType, elements: [Double]) {
    var graph = Graph(name: "random")
    var inputs: [ONNXNode.Input] = []
    if let input {
      inputs = [ONNXNode.Input(type: TensorType(.float32, TensorShape(input.shape)))]
    }
    var builder = FunctionBuilder(
      ONNXNode(
        opType: opType, opset: 22, attributes: attributes, inputs: inputs, outputCount: 1,
        name: name))
    let function = try #require(ONNXFunction.find(opType, opset: 22))
    let outputs = try #require(try function.build(&builder))
    var values: [FunctionBuilder.Source: ValueID] = [:]
    for (index, input) in inputs.enumerated() {
      values[.input(index)] = graph.addInput("x", input.type)
    }
    for (index, data) in builder.constants.enumerated() {
      values[.constant(index)] = graph.addParameter(
        "c\(index)", TensorType(data.dtype, TensorShape(data.shape)), Parameter(data: data))
    }
    for (index, step) in builder.steps.enumerated() {
      let results = try graph.append(
        step.operation, step.operands.map { $0.flatMap { values[$0] } })
      values[.result(step: index, index: 0)] = results[0]
    }
    let y = try #require(values[outputs[0].source])
    graph.outputs = [GraphOutput(name: "y", value: y)]
    var evaluator = ReferenceEvaluator(graph)
    let given = try input.map {
      ["x": HostTensor.float32(try DenseTensor(shape: $0.shape, elements: $0.elements))]
    }
    let found = try evaluator.run(given ?? [:])
    return (graph.type(of: y), try #require(found["y"]?.doubles))
  }

  private func moments(_ elements: [Double]) -> (mean: Double, variance: Double) {
    let mean = elements.reduce(0, +) / Double(elements.count)
    let squares = elements.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (mean, squares / Double(elements.count))
  }

  @Test("have the mean and the variance that they are asked for, to five standard errors")
  func distributions() throws {
    let count = 40_000
    let shape = ["shape": ONNXAttributeValue.ints([200, 200])]
    let normal = moments(
      try draw("RandomNormal", shape.merging(["mean": .float(3), "scale": .float(2)]) { $1 })
        .elements)
    #expect(abs(normal.mean - 3) < 5 * 2 / Double(count).squareRoot())
    #expect(abs(normal.variance - 4) < 5 * 4 * (2 / Double(count)).squareRoot())
    let drawn = try draw(
      "RandomUniform", shape.merging(["low": .float(-1), "high": .float(5)]) { $1 })
    let uniform = moments(drawn.elements)
    // (b − a)² / 12, and its fourth central moment (b − a)⁴ / 80.
    #expect(abs(uniform.mean - 2) < 5 * (3 / Double(count)).squareRoot())
    #expect(abs(uniform.variance - 3) < 5 * ((1296.0 / 80 - 9) / Double(count)).squareRoot())
    #expect(drawn.elements.allSatisfy { $0 >= -1 && $0 < 5 })
    #expect(drawn.type == TensorType(.float32, [200, 200]))
  }

  @Test("ones and classes come as often as they are probable, and what is impossible never")
  func frequencies() throws {
    let count = 20_000
    let p = (0..<count).map { Float([0, 0.25, 0.75, 1][$0 % 4]) }
    let ones = try draw("Bernoulli", ["dtype": .int(7)], ([count], p))
    #expect(ones.type == TensorType(.int64, [Dimension(count)]))
    for (phase, probability) in [0, 0.25, 0.75, 1].enumerated() {
      let mean = moments(stride(from: phase, to: count, by: 4).map { ones.elements[$0] }).mean
      let error = (probability * (1 - probability) / Double(count / 4)).squareRoot()
      #expect(abs(mean - probability) <= 5 * error)
    }
    let weights: [Double] = [0.1, 0.6, 0.3]
    let logarithms = weights.map { Float(Double.log($0)) } + [-.infinity]
    let classes = try draw(
      "Multinomial", ["sample_size": .int(count), "seed": .float(4)], ([1, 4], logarithms))
    #expect(classes.type == TensorType(.int32, [1, Dimension(count)]))
    for (index, weight) in (weights + [0]).enumerated() {
      let share = Double(classes.elements.count { $0 == Double(index) }) / Double(count)
      #expect(abs(share - weight) <= 5 * (weight * (1 - weight) / Double(count)).squareRoot())
    }
  }

  @Test("of one seed are the same, of other seeds and nodes others")
  func seeds() throws {
    func numbers(_ seed: Double?, _ name: String = "node") throws -> [Double] {
      var attributes: [String: ONNXAttributeValue] = [:]
      if let seed { attributes["seed"] = .float(seed) }
      return try draw(
        "RandomNormalLike", attributes, name: name, ([2, 4], Array(repeating: 0, count: 8))
      )
      .elements
    }
    #expect(try numbers(1.5) == numbers(1.5, "other"))
    #expect(try numbers(1.5) != numbers(1.25))
    #expect(try numbers(nil) == numbers(nil))
    #expect(try numbers(nil) != numbers(nil, "other"))
    #expect(Set(try numbers(2)).count == 8)
  }

  @Test("of an impossible shape or type are refused")
  func refused() {
    for attributes: [String: ONNXAttributeValue] in [
      [:], ["shape": .ints([-1])], ["shape": .ints([.max, .max])],
      ["shape": .ints([1 << 20, 1 << 20])], ["shape": .ints([2]), "dtype": .int(8)],
      ["shape": .ints([2]), "dtype": .int(7)],
    ] {
      #expect(throws: GraftError.self) { try draw("RandomNormal", attributes) }
    }
    for size in [0, -1, Int.max] {
      #expect(throws: GraftError.self) {
        try draw("Multinomial", ["sample_size": .int(size)], ([1, 2], [0, 0]))
      }
    }
  }
}
