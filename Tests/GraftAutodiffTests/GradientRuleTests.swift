// Every operator's gradient rule against central differences, both in double precision on the reference
// evaluator: on the cases below, and for operators without one on what tools/make-operator-fixtures has of
// them.

import GraftAutodiff
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

/// One operator on operands of these shapes; the gradients of those in `wanted` are checked.
struct GradientCase: Sendable, CustomTestStringConvertible {
  var operation: any Operator
  var shapes: [[Int]]
  var wanted: [Int]
  /// Operands take values from this range.
  var range: ClosedRange<Double>
  /// A last operand of constant integers.
  var indices: [Int64]?
  /// What the operands are near, in place of random values.
  var values: [[Double]]?
  /// Operands of whole numbers, which are no constants, by position: their elements in turn.
  var whole: [Int: (dtype: DataType, cycle: [Int])]

  init(
    _ operation: any Operator, _ shapes: [[Int]], wanted: [Int]? = nil,
    range: ClosedRange<Double> = -2...2, indices: [Int64]? = nil,
    whole: [Int: (dtype: DataType, cycle: [Int])] = [:]
  ) {
    self.indices = indices
    self.whole = whole
    self.operation = operation
    self.shapes = shapes
    self.wanted = wanted ?? Array(shapes.indices)
    self.range = range
  }

  /// Nil where the fixture has other operands than floating-point tensors, or its operator no gradient.
  init?(_ fixture: OperatorFixture) throws {
    let (operation, operands) = try fixture.imported()
    let tensors = operands.compactMap(\.self)
    guard operation is any DifferentiableOperator, tensors.count == operands.count,
      tensors.allSatisfy({ $0.dtype == .float32 })
    else { return nil }
    self.init(operation, tensors.map(\.shape))
    values = tensors.map(\.reals)
  }

  var opcode: Opcode { Swift.type(of: operation).opcode }
  var testDescription: String { "\(opcode) \(operation.attributes)" }
}

private let window = Window(
  kernel: [3, 2], strides: [2, 1], pads: [1, 0, 1, 1], dilations: [1, 2])
private let image = [2, 4, 6, 5]

let gradientCases: [GradientCase] = [
  GradientCase(Convolution(pads: [1, 1, 1, 1]), [[2, 3, 5, 4], [4, 3, 3, 3], [4]]),
  GradientCase(
    Convolution(strides: [2, 3], pads: [1, 0, 2, 1], dilations: [1, 2]),
    [[2, 3, 7, 9], [2, 3, 3, 2], [2]]),
  GradientCase(
    Convolution(strides: [2, 2], pads: [1, 1, 1, 1], groups: 2), [[1, 4, 6, 5], [6, 2, 3, 3]]),
  GradientCase(Convolution(pads: [3, 0, 1, 4]), [[2, 3, 4, 4], [2, 3, 2, 2]]),
  GradientCase(Convolution(strides: [2, 2], pads: [2, 3, 3, 2]), [[1, 2, 5, 4], [3, 2, 1, 2]]),
  GradientCase(Convolution(groups: 4), [[2, 4, 4, 4], [4, 1, 2, 2]]),
  GradientCase(Convolution(strides: [2, 2]), [[2, 3, 5, 6], [4, 3, 1, 1]]),
  GradientCase(
    Convolution(activation: .relu), [[2, 3, 4, 4], [4, 3, 2, 2], [4], [2, 4, 3, 3]]),
  GradientCase(TransposedConvolution(strides: [2, 2]), [[2, 3, 4, 3], [3, 2, 2, 2], [2]]),
  GradientCase(
    TransposedConvolution(
      strides: [2, 3], pads: [1, 0, 2, 1], dilations: [1, 2], outputPads: [1, 0], groups: 2,
      activation: .tanh), [[2, 4, 4, 3], [4, 3, 3, 2], [6]]),
  GradientCase(ReduceSum(axes: [1, 3], keepsAxes: true), [image]),
  GradientCase(ReduceSum(axes: [0, 2]), [image]),
  GradientCase(Gemm(alpha: 0.5, beta: 2, transposesB: true), [[3, 4], [5, 4], [5]]),
  GradientCase(Gemm(activation: .tanh), [[3, 4], [4, 2], [3, 1]]),
  GradientCase(Gemm(alpha: 0.5, transposesA: true), [[4, 3], [4, 5], [5]]),
  GradientCase(Gemm(alpha: 2, transposesA: true, transposesB: true), [[4, 3], [5, 4]]),
  GradientCase(MatrixMultiply(), [[3, 4], [4, 2]]), GradientCase(MatrixMultiply(), [[4], [4, 2]]),
  GradientCase(MatrixMultiply(), [[3, 4], [4]]), GradientCase(MatrixMultiply(), [[4], [4]]),
  GradientCase(MatrixMultiply(), [[3, 4], [5, 4, 2]]),
  GradientCase(MatrixMultiply(), [[5, 3, 4], [4, 2]]),
  GradientCase(MatrixMultiply(), [[5, 3, 4], [4]]),
  GradientCase(MatrixMultiply(), [[4], [5, 4, 2]]),
  GradientCase(MatrixMultiply(), [[2, 1, 3, 4], [5, 4, 2]]),
  GradientCase(Attention(scale: 0.7), [[2, 3, 4], [2, 5, 4], [2, 5, 3]]),
  GradientCase(
    Attention(scale: 0.5), [[2, 2, 3, 4], [2, 2, 3, 4], [2, 2, 3, 4], [2, 3, 3], [2, 1, 3, 3]]),
  // Every element becomes the upper limit.
  GradientCase(Clip(low: 1, high: -1), [image]),
  GradientCase(
    BatchNormalization(epsilon: 1e-3), [image, [4], [4], [4], [4]], wanted: [0, 1, 2],
    range: 0.5...2),
  GradientCase(Softmax(axis: 1), [[3, 4]]), GradientCase(LogSoftmax(axis: 1), [[3, 4]]),
  GradientCase(Relu(), [image]), GradientCase(Clip(low: -1, high: 1.5), [image]),
  GradientCase(LeakyRelu(alpha: 0.1), [image]), GradientCase(Elu(alpha: 1), [image]),
  GradientCase(Elu(alpha: 0.5), [image]), GradientCase(Sigmoid(), [image]),
  GradientCase(Elu(alpha: -0.7), [image]), GradientCase(Elu(alpha: 0), [image]),
  GradientCase(LeakyRelu(alpha: -0.3), [image]), GradientCase(LeakyRelu(alpha: 0), [image]),
  GradientCase(HardSigmoid(alpha: -0.25, beta: 0.5), [image], range: -4...4),
  GradientCase(HardSigmoid(alpha: 0.25, beta: 0.5), [image], range: -4...4),
  GradientCase(Tanh(), [image]), GradientCase(HardSwish(), [image], range: -5...5),
  GradientCase(Silu(), [image], range: -5...5),
  GradientCase(MaxPool(window: window), [image]),
  GradientCase(MaxPool(window: Window(kernel: [3, 3], strides: [2, 2]), ceil: true), [image]),
  GradientCase(AveragePool(window: window), [image]),
  GradientCase(AveragePool(window: window, countIncludePad: true), [image]),
  GradientCase(
    AveragePool(window: Window(kernel: [3, 3], strides: [2, 2]), ceil: true), [image]),
  GradientCase(GlobalAveragePool(), [image]), GradientCase(GlobalMaxPool(), [image]),
  GradientCase(
    RegionPool(.average, bins: [2, 3], scale: 2, isHalfPixel: true),
    [[2, 2, 5, 4], [3, 4], [3]], wanted: [0], whole: [2: (.int64, [0, -1, 1])]),
  GradientCase(
    RegionPool(.average, bins: [3, 2], places: 2), [[1, 3, 5, 4], [2, 4], [2]], wanted: [0],
    whole: [2: (.int64, [0])]),
  GradientCase(ReduceMean(axes: [2, 3]), [image]),
  GradientCase(ReduceMean(axes: [1, 2], keepsAxes: false), [image]),
  GradientCase(Add(), [image, [4, 1, 1]]), GradientCase(Add(activation: .relu), [image, image]),
  GradientCase(Subtract(), [[1, 4, 1, 5], image]),
  GradientCase(Multiply(), [image, [2, 4, 1, 1]]), GradientCase(Multiply(), [[5], image]),
  GradientCase(Divide(), [image, [4, 1, 1]], range: 0.5...2),
  GradientCase(Sum(), [image, [4, 1, 1], image]), GradientCase(Negate(), [image]),
  GradientCase(AbsoluteValue(), [image]), GradientCase(Floor(), [image]),
  GradientCase(Ceiling(), [image]), GradientCase(SquareRoot(), [image], range: 0.5...3),
  GradientCase(Reciprocal(), [image], range: 0.5...3), GradientCase(Exponential(), [image]),
  GradientCase(Power(exponent: 3), [image], range: 0.5...2),
  GradientCase(ArcSine(), [image], range: -0.8...0.8),
  GradientCase(ArcCosine(), [image], range: -0.8...0.8),
  GradientCase(InverseHyperbolicTangent(), [image], range: -0.8...0.8),
  GradientCase(InverseHyperbolicCosine(), [image], range: 1.2...3),
  GradientCase(Tangent(), [image], range: -1...1),
  GradientCase(TensorPower(), [image, [4, 1, 1]], range: 0.5...2),
  GradientCase(TensorPower(), [[5], image], range: 0.5...2),
  GradientCase(Remainder(truncates: true), [image, [5]], wanted: [0], range: 0.5...2),
  GradientCase(Reduction(.max, axes: [1, 3]), [image]),
  GradientCase(Reduction(.min, axes: [2], keepsAxes: false), [image]),
  GradientCase(Reduction(.prod, axes: [1, 2]), [image]),
  GradientCase(ErrorFunction(), [image]), GradientCase(Identity(), [image]),
  GradientCase(Dropout(), [image]), GradientCase(Flatten(axis: 2), [image]),
  GradientCase(Reshape(shape: [6, 40]), [image]), GradientCase(Squeeze(axes: [1]), [[3, 1, 2]]),
  GradientCase(Unsqueeze(axes: [0]), [[3, 2]]),
  GradientCase(Transpose(permutation: [2, 0, 3, 1]), [image]),
  GradientCase(Concatenate(axis: 1), [[2, 3, 2], [2, 1, 2], [2, 2, 2]]),
  GradientCase(Split(axis: 1, sizes: [1, 3]), [[2, 4, 3]]),
  GradientCase(Slice(axes: [1, 2], starts: [1, 0], extents: [2, 4], steps: [1, 1]), [image]),
  GradientCase(Slice(axes: [2, 3], starts: [1, 0], extents: [2, 3], steps: [3, 2]), [image]),
  GradientCase(Slice(axes: [3], starts: [0], extents: [3], steps: [2]), [image]),
  GradientCase(Pad(pads: [0, 1, 2, 0, 0, 0, 1, 3]), [image]),
  GradientCase(Pad(pads: [0, 0, 2, 1, 0, 0, 3, 4], mode: .reflect), [image]),
  GradientCase(Pad(pads: [0, 1, 2, 7, 0, 0, 3, 0], mode: .edge), [image]),
  GradientCase(Pad(pads: [0, 0, -1, 2, 0, -1, 1, -2]), [image]),
  GradientCase(Pad(pads: [0, 5, 2, 1, 0, 0, 13, 4], mode: .wrap), [image]),
  GradientCase(GlobalAveragePool(), [[2, 3, 5]]), GradientCase(GlobalMaxPool(), [[2, 3, 5]]),
  GradientCase(GlobalAveragePool(), [[2, 3, 2, 3, 2]]),
  GradientCase(GlobalMaxPool(), [[2, 3, 2, 3, 2]]),
  GradientCase(Slice(axes: [1], starts: [1], extents: [2], steps: [2]), [image]),
  GradientCase(Slice(axes: [1], starts: [3], extents: [2], steps: [-2]), [[2, 4, 3]]),
  GradientCase(Expand(shape: [2, 3, 4]), [[3, 1]]), GradientCase(Cast(to: .float64), [[3, 4]]),
  GradientCase(
    LocalResponseNormalization(size: 3, alpha: 0.5, beta: 0.75, bias: 1), [image]),
  GradientCase(
    LocalResponseNormalization(size: 4, alpha: 0.9, beta: 0.5, bias: 2), [[2, 7, 3]]),
  GradientCase(LocalResponseNormalization(size: 1, alpha: 1, beta: 2, bias: 1), [[3, 2]]),
  GradientCase(LocalResponseNormalization(size: 9, alpha: 1), [image]),
  GradientCase(Maximum(), [image, [4, 1, 1], image]), GradientCase(Maximum(), [image]),
  GradientCase(Minimum(), [[4, 1, 1], image, [5]]), GradientCase(Minimum(), [image, image]),
  // Where two are equal each has half of the gradient, which is the central difference.
  GradientCase(Maximum(), [[2, 3], [2, 3]], range: 1...1),
  GradientCase(Minimum(), [[2, 3], [3]], range: 1...1),
  GradientCase(Gather(axis: 1), [image], indices: [3, 0, -1, 1, 3]),
  GradientCase(Gather(axis: 0), [[5, 3]], indices: [4, 2]),
  GradientCase(Gather(axis: 2), [[2, 3, 4]], indices: [-4, 1, 1]),
  GradientCase(
    Gather(axis: 0), [[5, 3], [2, 4]], wanted: [0], whole: [1: (.int64, [4, 0, -1, 2, 2])]),
  GradientCase(
    Gather(axis: 1), [[2, 4, 3, 2], [3]], wanted: [0], whole: [1: (.int32, [3, -4, 3])]),
  GradientCase(Gather(axis: 2), [[2, 3, 4], []], wanted: [0], whole: [1: (.int64, [-2])]),
  GradientCase(
    GatherElements(axis: 1), [[2, 4, 3], [2, 2, 3]], wanted: [0],
    whole: [1: (.int64, [3, 0, -1, 2, 2])]),
  GradientCase(
    ScatterElements(axis: 1, reduction: .add), [[2, 4, 3], [2, 5, 2], [2, 5, 2]], wanted: [0, 2],
    whole: [1: (.int64, [3, 0, -1, 2, 2])]),
  GradientCase(
    ScatterElements(axis: 0), [[5, 3], [2, 3], [2, 3]], wanted: [0, 2],
    whole: [1: (.int64, [4, 0, -2, 2, 1, 0])]),
  GradientCase(TopK(count: 2, axis: 1), [[2, 5, 3]]),
  GradientCase(TopK(count: 3, axis: 0, takesSmallest: true), [[4, 3]]),
  GradientCase(
    Where(), [[2, 4, 1], [4, 5], [2, 4, 5]], wanted: [1, 2],
    whole: [0: (.bool, [1, 0, 0, 1, 1])]),
  GradientCase(Where(), [[3], [2, 3], []], wanted: [1, 2], whole: [0: (.bool, [0, 1, 1])]),
]

/// The fixtures of operators without a case of their own.
private func fixtureCases() throws -> [GradientCase] {
  let covered = Set(gradientCases.map(\.opcode))
  return try OperatorFixture.all().compactMap { try GradientCase($0) }
    .filter { !covered.contains($0.opcode) }
}

@Suite("Gradient rules")
struct GradientRuleTests {
  @Test(
    "parts of a split that nothing reads have zeros", arguments: [[0], [1], [2], [0, 2], [1, 2]])
  func partsOfSplit(_ read: [Int]) throws {
    let sizes = [1, 3, 2]
    var graph = Graph(name: "split")
    let x = graph.addInput("x", TensorType(.float32, [2, 6]))
    let parts = try graph.append(Split(axis: 1, sizes: sizes), [x])
    let seeds = read.map { part in
      let seed = graph.addInput("seed\(part)", graph.type(of: parts[part]))
      return (value: parts[part], gradient: seed)
    }
    let gradients = try graph.appendGradients(of: seeds, withRespectTo: [x])
    graph.outputs = [GraphOutput(name: "dx", value: try #require(gradients[x]))]
    var inputs = ["x": HostTensor.float64(DenseTensor(shape: [2, 6], repeating: 0))]
    for part in read {
      inputs["seed\(part)"] = .float64(
        DenseTensor(shape: [2, sizes[part]], repeating: Double(part + 1)))
    }
    var evaluator = ReferenceEvaluator(graph, precision: .double)
    let found = try #require(try evaluator.run(inputs)["dx"]?.doubles)
    let row = sizes.indices.flatMap { part in
      Array(repeating: read.contains(part) ? Double(part + 1) : 0, count: sizes[part])
    }
    #expect(found == row + row)
  }

  @Test("agree with central differences to 1e-4", arguments: gradientCases)
  func rule(_ item: GradientCase) throws { try check(item) }

  @Test("of operators with fixtures alone agree with central differences to 1e-4")
  func ruleOnFixtures() throws {
    for item in try fixtureCases() { try check(item) }
  }

  private func check(_ item: GradientCase) throws {
    var random = SplitMix(seed: 7)
    var graph = Graph(name: "rule")
    var inputs: [String: HostTensor] = [:]
    var operands = try item.shapes.enumerated().map { index, shape -> ValueID in
      if let (dtype, cycle) = item.whole[index] {
        let elements = (0..<shape.reduce(1, *)).map { Dimension(cycle[$0 % cycle.count]) }
        inputs["x\(index)"] = .integer(try DenseTensor(shape: shape, elements: elements))
        return graph.addInput("x\(index)", TensorType(dtype, TensorShape(shape)))
      }
      // Fixtures hold multiples of 1/8, where functions have their corners.
      let elements =
        item.values?[index].map { $0 + random.number(in: 0.01...0.1) }
        ?? (0..<shape.reduce(1, *)).map { _ in random.number(in: item.range) }
      inputs["x\(index)"] = .float64(try DenseTensor(shape: shape, elements: elements))
      return graph.addInput("x\(index)", TensorType(.float32, TensorShape(shape)))
    }
    if let indices = item.indices {
      operands.append(
        graph.addParameter(
          "indices", TensorType(.int64, [Dimension(indices.count)]),
          Parameter(data: try TensorData(indices, shape: [indices.count]))))
    }
    let results = try graph.append(item.operation, operands)
    // The quantity is a sum of all results with random weights, which are therefore its gradients.
    var seeds: [(value: ValueID, gradient: ValueID)] = []
    for (index, result) in results.enumerated() {
      let shape = try graph.type(of: result).shape.extents(batch: 1)
      let elements = (0..<shape.reduce(1, *)).map { _ in random.number(in: -1...1) }
      inputs["r\(index)"] = .float64(try DenseTensor(shape: shape, elements: elements))
      seeds.append((result, graph.addInput("r\(index)", graph.type(of: result))))
      graph.outputs.append(GraphOutput(name: "y\(index)", value: result))
    }
    let gradients = try graph.appendGradients(
      of: seeds, withRespectTo: item.wanted.map { operands[$0] })
    for index in item.wanted {
      if let gradient = gradients[operands[index]] {
        graph.outputs.append(GraphOutput(name: "d\(index)", value: gradient))
      }
    }
    try graph.verify()
    var evaluator = ReferenceEvaluator(graph, precision: .double)
    let found = try evaluator.run(inputs)
    for index in item.wanted {
      let expected = try differences(of: "x\(index)", inputs) { inputs in
        let outputs = try evaluator.run(inputs)
        return results.indices.reduce(0.0) { total, k in
          let (y, r) = (outputs["y\(k)"]?.doubles ?? [], inputs["r\(k)"]?.doubles ?? [])
          return total + zip(y, r).reduce(0.0) { $0 + $1.0 * $1.1 }
        }
      }
      let gradient = found["d\(index)"]?.doubles ?? Array(repeating: 0, count: expected.count)
      expectClose(gradient, expected, "operand \(index)")
    }
  }

  @Test("cover every operator that has one, and these have none")
  func coverage() throws {
    // random_dropout takes integers too; training graphs are tested with it.
    let covered = Set(try (gradientCases + fixtureCases()).map(\.opcode) + [RandomDropout.opcode])
    let differentiable = Catalog.operators.filter { $0 is any DifferentiableOperator.Type }
    #expect(Set(differentiable.map { $0.opcode }) == covered)
    let others = Catalog.operators.filter { !($0 is any DifferentiableOperator.Type) }
    #expect(
      Set(others.map { $0.opcode.rawValue }) == [
        // Only passes make them.
        "scale_shift", "channel_shuffle", "convert_layout", "round_to", "interleave_phases",
        "phase_weights", "quantize", "dequantize", "dequantize_weights", "quantized_convolution",
        "quantized_gemm", "quantized",
        // Applied to constants alone.
        "standardize",
        // Their results do not move smoothly with an operand, or are whole numbers.
        "shape", "size", "constant_of_shape", "range", "equal", "greater", "less", "not", "and",
        "or", "xor", "bitwise_and", "bitwise_or", "bitwise_xor", "bit_shift", "arg_reduce",
        // Training itself makes them.
        "cross_entropy", "cross_entropy_gradient", "regression_error", "regression_error_gradient",
        "activation_gradient", "convolution_weight_gradient", "transpose_weights", "insert_zeros",
        "batch_outer_product", "batch_statistics", "batch_normalization_parameter_gradient",
        "batch_normalization_input_gradient", "max_pool_gradient", "average_pool_gradient",
        "gather_gradient", "region_pool_gradient", "layer_normalization_gradient",
        "layer_normalization_parameter_gradient", "attention_gradient", "square_sum",
        "clip_factor", "accumulate", "sgd_update", "adam_update", "moving_average",
      ])
  }

  /// But for constants, and what makes booleans.
  @Test("every operator of a file that may reach a kernel has a gradient")
  func importedOperators() {
    let computing = Catalog.operators.filter { !$0.onnx.isEmpty && !$0.isCompileTimeOnly }
    let missing = computing.filter { !($0 is any DifferentiableOperator.Type) }
    #expect(
      Set(missing.map { $0.opcode })
        == [
          "constant_of_shape", "equal", "greater", "less", "not", "and", "or", "xor", "bitwise_and",
          "bitwise_or", "bitwise_xor", "bit_shift", "arg_reduce",
        ])
  }

  @Test("a node whose attributes have no rule is named too, before anything is built")
  func conditionalRule() throws {
    var graph = Graph(name: "rule")
    let x = graph.addInput("x", TensorType(.float32, [1, 2, 4, 4]))
    let divisor = graph.addInput("d", TensorType(.float32, [4]))
    let quotient = try graph.append(
      Divide(activation: .relu), [x, divisor], origins: ["quotient"])[0]
    let y = try graph.append(Relu(), [quotient], origins: ["relu"])[0]
    let found = try graph.obstacles(toGradientsOf: [x], from: [y])
    #expect(found.map { $0.node.origins } == [["quotient"]])
    #expect(found.first?.reason.contains("a division with a fused activation") == true)
  }

  @Test("an operator without a rule is named")
  func missingRule() throws {
    var graph = Graph(name: "rule")
    let x = graph.addInput("x", TensorType(.float32, [1, 4, 2, 2]))
    let y = try graph.append(ChannelShuffle(groups: 2), [x], origins: ["shuffle"])[0]
    let error = #expect(throws: GraftError.self) {
      try graph.appendGradients(of: [(y, y)], withRespectTo: [x])
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.location.node == "shuffle")
    let found = try graph.obstacles(toGradientsOf: [x], from: [y])
    #expect(found.map(\.reason) == ["channel_shuffle has no gradient"])
  }

  /// The value where it is above zero, else zero: the derivative is relu's, 1 above zero and 0 elsewhere.
  @Test("a comparison is a constant to a gradient")
  func comparisons() throws {
    var graph = Graph(name: "rule")
    let x = graph.addInput("x", TensorType(.float32, [4]))
    let zero = graph.addInput("zero", TensorType(.float32, []))
    let dy = graph.addInput("dy", TensorType(.float32, [4]))
    let isPositive = try graph.append(Greater(), [x, zero], origins: ["compare"])[0]
    let y = try graph.append(Where(), [isPositive, x, zero], origins: ["choose"])[0]
    #expect(try graph.obstacles(toGradientsOf: [x], from: [y]).isEmpty)
    let gradients = try graph.appendGradients(of: [(y, dy)], withRespectTo: [x])
    graph.outputs = [GraphOutput(name: "dx", value: try #require(gradients[x]))]
    var evaluator = ReferenceEvaluator(graph)
    let found = try evaluator.run([
      "x": .float32(DenseTensor(shape: [4], elements: [-1, 2, 0, 3])),
      "zero": .float32(DenseTensor(scalar: 0)),
      "dy": .float32(DenseTensor(shape: [4], elements: [5, 6, 7, 8])),
    ])
    #expect(found["dx"]?.doubles == [0, 6, 0, 8])
  }

  @Test("a comparison is named where no other way leads to a parameter")
  func onlyComparisons() throws {
    var graph = Graph(name: "rule")
    let x = graph.addInput("x", TensorType(.float32, [4]))
    let isPositive = try graph.append(Greater(), [x, x], origins: ["compare"])[0]
    let y = try graph.append(Cast(to: .float32), [isPositive], origins: ["cast"])[0]
    let found = try graph.obstacles(toGradientsOf: [x], from: [y])
    #expect(found.map { $0.node.origins } == [["compare"]])
    #expect(found.map(\.reason) == ["greater has no gradient"])
  }
}
