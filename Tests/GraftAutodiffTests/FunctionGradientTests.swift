// Gradients of ONNX operators that are made of others, against central differences in double precision: what they
// are made of has rules, so that these are about operators whose parts could cut gradients off, such as places.

import GraftAutodiff
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

/// An ONNX node on random operands of these shapes.
struct FunctionCase: Sendable, CustomTestStringConvertible {
  var opType: String
  var opset = 22
  var attributes: [String: ONNXAttributeValue] = [:]
  var shapes: [[Int]]
  /// The inputs behind them, which are constants.
  var constants: [[Int]] = []
  var outputs = 1
  /// The inputs that gradients reach; nil for all with a shape.
  var wanted: [Int]?

  var testDescription: String { "\(opType) \(attributes.keys.sorted()) \(shapes)" }

  static let all: [FunctionCase] =
    ["zeros", "border", "reflection"].flatMap { padding in
      ["linear", "cubic"].map { mode in
        FunctionCase(
          opType: "GridSample",
          attributes: [
            "mode": .string(mode), "padding_mode": .string(padding),
            "align_corners": .int(mode == "cubic" ? 1 : 0),
          ], shapes: [[2, 2, 4, 3], [2, 3, 2, 2]])
      }
    } + [
      FunctionCase(opType: "GridSample", shapes: [[1, 2, 3, 4, 3], [1, 2, 2, 2, 3]]),
      FunctionCase(
        opType: "GridSample", attributes: ["mode": .string("nearest")],
        shapes: [[2, 2, 4, 3], [2, 3, 2, 2]]),
      FunctionCase(
        opType: "MaxPool",
        attributes: ["kernel_shape": .ints([3, 2]), "pads": .ints([1, 0, 1, 1])],
        shapes: [[2, 2, 4, 5]], outputs: 2),
      FunctionCase(
        opType: "Col2Im", attributes: ["pads": .ints([1, 0, 0, 1])], shapes: [[2, 8, 12]],
        constants: [[3, 4], [2, 2]]),
      FunctionCase(
        opType: "DeformConv", attributes: ["pads": .ints([1, 0, 1, 0])],
        shapes: [[1, 2, 4, 4], [3, 2, 2, 2], [1, 8, 5, 3], [3], [1, 4, 5, 3]]),
      FunctionCase(
        opType: "ConvTranspose",
        attributes: ["strides": .ints([2, 1, 2]), "pads": .ints([1, 0, 0, 1, 1, 0])],
        shapes: [[1, 2, 3, 2, 2], [2, 2, 2, 3, 2], [2]]),
      FunctionCase(opType: "Det", shapes: [[2, 4, 4]]),
      FunctionCase(
        opType: "CumProd", opset: 26, attributes: ["exclusive": .int(1)], shapes: [[2, 5]],
        constants: [[1]]),
    ]
}

@Suite("Gradients of functions")
struct FunctionGradientTests {
  @Test("agree with central differences", arguments: FunctionCase.all)
  func function(_ item: FunctionCase) throws {
    var random = SplitMix(seed: 11)
    var graph = Graph(name: "function")
    var inputs: [String: HostTensor] = [:]
    var values = try item.shapes.enumerated().map { index, shape -> ValueID in
      let elements = (0..<shape.reduce(1, *)).map { _ in random.number(in: -1.5...1.5) }
      inputs["x\(index)"] = .float64(try DenseTensor(shape: shape, elements: elements))
      return graph.addInput("x\(index)", TensorType(.float32, TensorShape(shape)))
    }
    var known: [ONNXNode.Input] = values.map { ONNXNode.Input(type: graph.type(of: $0)) }
    for (index, elements) in item.constants.enumerated() {
      let shape = [elements.count]
      let data = try TensorData(elements.map { Int64($0) }, shape: shape)
      let type = TensorType(.int64, TensorShape(shape))
      values.append(graph.addParameter("c\(index)", type, Parameter(data: data)))
      known.append(
        ONNXNode.Input(
          type: type,
          integers: try DenseTensor(shape: shape, elements: elements.map { Dimension($0) }),
          data: data))
    }
    let function = try #require(ONNXFunction.find(item.opType, opset: item.opset))
    var builder = FunctionBuilder(
      ONNXNode(
        opType: item.opType, opset: item.opset, attributes: item.attributes, inputs: known,
        outputCount: item.outputs))
    let outputs = try #require(try function.build(&builder))
    let y = try #require(try graph.append(builder, on: values, outputs).first)
    let shape = try graph.type(of: y).shape.extents(batch: 1)
    let weights = (0..<shape.reduce(1, *)).map { _ in random.number(in: -1...1) }
    inputs["r"] = .float64(try DenseTensor(shape: shape, elements: weights))
    let seed = graph.addInput("r", graph.type(of: y))
    graph.outputs = [GraphOutput(name: "y", value: y)]
    let wanted = item.wanted ?? Array(item.shapes.indices)
    let gradients = try graph.appendGradients(
      of: [(y, seed)], withRespectTo: wanted.map { values[$0] })
    for index in wanted {
      guard let gradient = gradients[values[index]] else { continue }
      graph.outputs.append(GraphOutput(name: "d\(index)", value: gradient))
    }
    try graph.verify()
    var evaluator = ReferenceEvaluator(graph, precision: .double)
    let found = try evaluator.run(inputs)
    for index in wanted {
      let expected = try differences(of: "x\(index)", inputs) { inputs in
        let outputs = try evaluator.run(inputs)
        return zip(outputs["y"]?.doubles ?? [], weights).reduce(0.0) { $0 + $1.0 * $1.1 }
      }
      let gradient = found["d\(index)"]?.doubles ?? Array(repeating: 0, count: expected.count)
      expectClose(gradient, expected, "\(item.testDescription), input \(index)")
    }
  }
}

extension Graph {
  /// The operators of a function on these inputs of its node.
  /// - Returns: its outputs.
  fileprivate mutating func append(
    _ builder: FunctionBuilder, on inputs: [ValueID], _ outputs: [FunctionBuilder.Term]
  ) throws -> [ValueID] {
    var values: [FunctionBuilder.Source: ValueID] = [:]
    for (index, input) in inputs.enumerated() { values[.input(index)] = input }
    for (index, data) in builder.constants.enumerated() {
      values[.constant(index)] = addParameter(
        "constant\(index)", TensorType(data.dtype, TensorShape(data.shape)), Parameter(data: data))
    }
    for (index, step) in builder.steps.enumerated() {
      let results = try append(step.operation, step.operands.map { $0.flatMap { values[$0] } })
      for (result, value) in results.enumerated() {
        values[.result(step: index, index: result)] = value
      }
    }
    return try outputs.map { try #require(values[$0.source]) }
  }
}
