// Every kernel that is no convolution against the reference evaluator, in blocked and plain layouts.

import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftCodegen

@Suite struct OperatorKernelTests {
  @Test func pools() throws {
    var harness = KernelHarness(seed: 11)
    for isPlain in [false, true] {
      for _ in 0..<8 {
        let kernel = [harness.random.int(1...4), harness.random.int(1...4)]
        let window = Window(
          kernel: kernel, strides: [harness.random.int(1...3), harness.random.int(1...5)],
          pads: [
            harness.random.int(0...(kernel[0] - 1)), harness.random.int(0...(kernel[1] - 1)),
            harness.random.int(0...(kernel[0] - 1)), harness.random.int(0...(kernel[1] - 1)),
          ])
        let shape = [
          harness.random.int(1...20), harness.random.int(5...13), harness.random.int(5...13),
        ]
        let ceil = harness.random.int(0...1) == 1
        for operation in [
          MaxPool(window: window, ceil: ceil),
          AveragePool(window: window, ceil: ceil, countIncludePad: true),
          AveragePool(window: window, ceil: ceil, countIncludePad: false),
        ] as [any GraftOps.Operator] {
          let x =
            isPlain
            ? harness.input([.batch] + shape.map { Dimension($0) })
            : try harness.image(shape, border: (harness.random.int(0...1), 1))
          let layout =
            isPlain ? Layout.plain : harness.blocked(border: (1, harness.random.int(0...1)))
          try harness.output(try harness.apply(operation, [x], layout: layout)[0])
        }
      }
      let x =
        isPlain
        ? harness.input([.batch, 19, 7, 5]) : try harness.image([19, 7, 5], border: (2, 1))
      let layout = isPlain ? Layout.plain : harness.blocked
      for operation in [
        GlobalAveragePool(), GlobalMaxPool(), ReduceMean(axes: [2, 3], keepsAxes: true),
        LocalResponseNormalization(size: 5, alpha: 0.1, beta: 0.75, bias: 2),
        LocalResponseNormalization(size: 4, alpha: 0.3, beta: 0.6, bias: 1),
      ] as [any GraftOps.Operator] {
        try harness.output(try harness.apply(operation, [x], layout: layout)[0])
      }
    }
    try harness.check()
  }

  @Test func elementwise() throws {
    var harness = KernelHarness(seed: 12)
    let unary: [any GraftOps.Operator] = [
      Relu(), Clip(low: -0.5, high: 0.25), LeakyRelu(alpha: 0.2), Sigmoid(), Tanh(), HardSwish(),
      HardSigmoid(alpha: 0.2, beta: 0.5), Silu(), Exponential(), Negate(), AbsoluteValue(), Floor(),
      Ceiling(), ErrorFunction(), Elu(alpha: 0.7), Power(exponent: 2),
    ]
    for operation in unary {
      let blocked = try harness.image([11, 4, 5], border: (1, 1))
      try harness.output(
        try harness.apply(operation, [blocked], layout: harness.blocked(border: (0, 2)))[0])
      let plain = harness.input([.batch, 37])
      try harness.output(try harness.apply(operation, [plain])[0])
    }
    try harness.check(tolerance: 1e-6, range: -3...3)
  }

  /// All that tools/make-operator-fixtures has of arithmetic and activations, in plain layout and on blocks.
  @Test func elementwiseFixtures() throws {
    var harness = KernelHarness(seed: 18)
    for fixture in try OperatorFixture.all() {
      let (operation, operands) = try fixture.imported()
      let tensors = operands.compactMap(\.self)
      guard operation.isElementwise, operation is any ONNXExportable,
        operation is any UnaryElementwise || operation is any BinaryElementwise
          || operation is any VariadicElementwise,
        tensors.count == operands.count, tensors.allSatisfy({ $0.dtype == .float32 })
      else { continue }
      var inputs = try tensors.enumerated().map { index, tensor in
        let numbers = tensor.reals.map(Float.init)
        return index < fixture.live
          ? harness.input(tensor.shape, given: numbers)
          : harness.graph.addParameter(
            harness.graph.unusedName("p"), tensor.type,
            Parameter(data: try TensorData(numbers, shape: tensor.shape)))
      }
      try harness.output(try harness.apply(operation, inputs)[0])
      if operation is any UnaryElementwise, let numbers = tensors.first?.reals, !numbers.isEmpty {
        // The same numbers as an image, over and over.
        let shape = [1, 11, 2, 3]
        let image = (0..<66).map { Float(numbers[$0 % numbers.count]) }
        inputs = [harness.input(shape, given: image)]
      }
      let types = inputs.map { harness.graph.type(of: $0) }
      let results = try Catalog.inferTypes(operation, types)
      guard results.first?.rank == 4,
        operation.layoutSupport(operands: types, results: results) == .blocked
      else { continue }
      let blocked = try inputs.map { value in
        harness.graph[value].parameter == nil && harness.graph.type(of: value).rank == 4
          ? try harness.convert(value, harness.blocked) : value
      }
      try harness.output(try harness.apply(operation, blocked, layout: harness.blocked)[0])
    }
    try harness.check(batches: [1])
  }

  /// The table of C has a row, with the derivative, for each activation that kernels fuse.
  @Test func everyFusedActivationHasItsRow() {
    let functions = Catalog.operators.compactMap { $0 as? any ActivationFunction.Type }
    #expect(!functions.isEmpty)
    for type in functions {
      let function = type.init(parameters: (0..<type.parameterCount).map { Double($0 + 1) })
      let row = ElementFunctions.unary[type.opcode]
      #expect(row?.value(function, "x") != nil, "\(type.opcode)")
      #expect(row?.gradient(function) != nil, "\(type.opcode)")
    }
  }

  /// Ties, subnormals and overflow of float16 among them: no other rounding is allowed.
  @Test func rounding() throws {
    let ranges: [ClosedRange<Float>] = [-1...1, -1e-5...1e-5, -131_008...131_008]
    for (seed, range) in ranges.enumerated() {
      var harness = KernelHarness(seed: UInt64(seed))
      for dtype in [DataType.float16, .bfloat16] {
        let rounding = try #require(RoundTo(dtype))
        let plain = harness.input([.batch, 2037])
        try harness.output(try harness.apply(rounding, [plain])[0])
        // Halves and quarters of whole numbers: every other is a tie somewhere.
        let whole = try harness.apply(Floor(), [plain])[0]
        let quarter = try harness.parameter([1])
        harness.graph[quarter].definition = .parameter(
          Parameter(data: try TensorData([Float(0.25)], shape: [1])))
        let ties = try harness.apply(Multiply(activation: .none), [whole, quarter])[0]
        try harness.output(try harness.apply(rounding, [ties])[0])
      }
      try harness.check(tolerance: 0, range: range)
    }
  }

  @Test func binaryAndBroadcast() throws {
    var harness = KernelHarness(seed: 13)
    let operations: [any GraftOps.Operator] = [
      Add(activation: .relu), Subtract(activation: .none), Multiply(activation: .none),
    ]
    for operation in operations {
      let a = try harness.image([11, 4, 5], border: (1, 1))
      let operands = [
        try harness.image([11, 4, 5], border: (0, 1)), try harness.image([11, 1, 1]),
        harness.input([.batch, 11, 1, 1]), try harness.parameter([1, 11, 1, 1]),
        try harness.parameter([1]), a,
      ]
      for b in operands {
        try harness.output(
          try harness.apply(operation, [a, b], layout: harness.blocked(border: (1, 0)))[0])
      }
      let plain = harness.input([.batch, 3, 4, 5])
      for b in [
        harness.input([.batch, 3, 4, 5]), harness.input([.batch, 3, 1, 1]),
        harness.input([.batch, 1, 4, 1]), harness.input([1, 1, 1, 5]), harness.input([4, 5]),
        try harness.parameter([3, 1, 1]), try harness.parameter([]),
      ] {
        try harness.output(try harness.apply(operation, [plain, b])[0])
        try harness.output(try harness.apply(operation, [b, plain])[0])
      }
    }
    let scale = try harness.parameter([11])
    let shift = try harness.parameter([11])
    let image = try harness.image([11, 4, 5])
    try harness.output(
      try harness.apply(
        ScaleShift(activation: .relu), [image, scale, shift], layout: harness.blocked)[0])
    let plain = harness.input([.batch, 11, 6])
    try harness.output(try harness.apply(ScaleShift(), [plain, scale, shift])[0])
    for operation in [Sum(), Maximum(), Minimum()] as [any GraftOps.Operator] {
      let operands = try (0..<3).map { _ in try harness.image([11, 4, 5]) }
      try harness.output(try harness.apply(operation, operands, layout: harness.blocked)[0])
    }
    try harness.check(tolerance: 1e-6)
  }

  /// Padding lanes hold zeros: dividing by them must leave nothing that a convolution turns to NaN.
  @Test func divisionLeavesNoInfinityInPaddingLanes() throws {
    var harness = KernelHarness(seed: 14)
    let a = try harness.image([5, 3, 3])
    let b = try harness.image([5, 3, 3])
    let quotient = try harness.apply(Divide(activation: .none), [a, b], layout: harness.blocked)[0]
    let w = try harness.parameter([4, 5, 1, 1])
    try harness.output(
      try harness.apply(Convolution(), [quotient, w], layout: harness.blocked)[0])
    try harness.check(range: 0.5...2)
  }

  /// Blocks, with and without borders and empty lanes, and planes.
  @Test(arguments: [Target.native, .generic]) func channelsLast(target: Target) throws {
    var harness = KernelHarness(seed: 17, target: target)
    for channels in [3, 16, 37] {
      for border in [(0, 0), (1, 2)] {
        let x = try harness.image([channels, 5, 7], border: border)
        let y = try harness.apply(Transpose(permutation: [0, 2, 3, 1]), [x])[0]
        try harness.output(y)
      }
      let planes = try harness.image([channels, 5, 7], border: (1, 1), isPlanar: true)
      try harness.output(try harness.apply(Transpose(permutation: [0, 2, 3, 1]), [planes])[0])
      // And back, into blocks.
      let rows = harness.input([.batch, 5, 7, Dimension(channels)])
      for border in [(0, 0), (1, 2)] {
        let image = try harness.apply(
          Transpose(permutation: [0, 3, 1, 2]), [rows],
          layout: .blocked(target.lanes, border: border))[0]
        try harness.output(image)
      }
    }
    try harness.check(tolerance: 0)
  }

  @Test func matrices() throws {
    var harness = KernelHarness(seed: 15)
    for (inputs, outputs) in [(1, 1), (7, 10), (33, 100), (1300, 37), (64, 1000)] {
      let scale = 1 / Float(inputs).squareRoot()
      let x = harness.input([.batch, Dimension(inputs)])
      let w = try harness.parameter([inputs, outputs], scale: scale)
      let transposed = try harness.parameter([outputs, inputs], scale: scale)
      let bias = try harness.parameter([outputs])
      try harness.output(try harness.apply(Gemm(activation: .relu), [x, w, bias])[0])
      try harness.output(
        try harness.apply(
          Gemm(alpha: 0.5, beta: 2, transposesB: true), [x, transposed, bias])[0])
      try harness.output(try harness.apply(Gemm(), [x, w, try harness.parameter([1])])[0])
      try harness.output(try harness.apply(MatrixMultiply(), [x, w])[0])
      let sequence = harness.input([.batch, 3, Dimension(inputs)])
      try harness.output(try harness.apply(MatrixMultiply(), [sequence, w])[0])
      let computed = harness.input([.batch, Dimension(inputs), 5])
      try harness.output(try harness.apply(MatrixMultiply(), [sequence, computed])[0])
      let fixed = harness.input([Dimension(inputs), 5])
      try harness.output(try harness.apply(Gemm(alpha: 2), [x, fixed])[0])
    }
    try harness.check(batches: [7, 1, 2])
  }

  @Test func softmaxAndMeans() throws {
    var harness = KernelHarness(seed: 16)
    let x = harness.input([.batch, 7, 5, 3])
    for axis in 1...3 {
      try harness.output(try harness.apply(Softmax(axis: axis), [x])[0])
      try harness.output(try harness.apply(LogSoftmax(axis: axis), [x])[0])
    }
    try harness.output(try harness.apply(Softmax(axis: 1, flattens: true), [x])[0])
    try harness.output(try harness.apply(ReduceMean(axes: [1, 3], keepsAxes: false), [x])[0])
    try harness.output(try harness.apply(ReduceMean(axes: [2], keepsAxes: true), [x])[0])
    let large = harness.input([.batch, 1000])
    try harness.output(try harness.apply(Softmax(axis: 1), [large])[0])
    try harness.check(tolerance: 2e-6, range: -20...20)
  }

  @Test func movement() throws {
    var harness = KernelHarness(seed: 17)
    let blocked = harness.blocked(border: (1, 0))
    let images = try [5, 8, 58, 3].map { try harness.image([$0, 3, 4], border: (0, 1)) }
    try harness.output(try harness.apply(Concatenate(axis: 1), images, layout: blocked)[0])
    let wide = try harness.apply(Concatenate(axis: 1), [images[1], images[1]], layout: blocked)[0]
    try harness.output(wide)
    for part in try harness.apply(Split(axis: 1, sizes: [20, 38]), [images[2]], layout: blocked) {
      try harness.output(part)
    }
    try harness.output(
      try harness.apply(ChannelShuffle(groups: 2), [images[2]], layout: blocked)[0])
    let phases = try harness.image([96, 3, 4], border: (0, 1))
    try harness.output(
      try harness.apply(
        InterleavePhases(strides: [3, 2], offsets: [1, 1], extents: [7, 6]), [phases],
        layout: blocked)[0])
    let plain = harness.input([.batch, 6, 4, 5])
    try harness.output(
      try harness.apply(
        InterleavePhases(strides: [1, 2], offsets: [2, 0], extents: [2, 9], groups: 3), [plain])[0])
    let other = harness.input([.batch, 6, 2, 5])
    try harness.output(try harness.apply(ChannelShuffle(groups: 3), [plain])[0])
    try harness.output(try harness.apply(Concatenate(axis: 2), [plain, other, plain])[0])
    for part in try harness.apply(Split(axis: 3, sizes: [2, 3]), [plain]) {
      try harness.output(part)
    }
    try harness.output(
      try harness.apply(
        Slice(axes: [1, 3], starts: [5, 1], extents: [3, 2], steps: [-2, 2]), [plain])[0])
    for permutation in [[0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]] {
      try harness.output(try harness.apply(Transpose(permutation: permutation), [plain])[0])
    }
    try harness.output(
      try harness.apply(
        Pad(pads: [0, 1, 2, 0, 0, 0, 1, -1], value: .real(0.5)), [plain])[0])
    try harness.output(
      try harness.apply(
        Pad(pads: [0, 0, 2, 1, 0, 0, -1, 3], value: .real(0)), [images[0]], layout: blocked)[0])
    for mode in [Pad.Mode.reflect, .edge] {
      try harness.output(
        try harness.apply(Pad(pads: [0, 5, 2, 1, 0, 0, 3, 4], mode: mode), [plain])[0])
      try harness.output(
        try harness.apply(Pad(pads: [0, 0, 2, 0, 0, 0, 0, 0], mode: mode), [plain])[0])
      try harness.output(
        try harness.apply(
          Pad(pads: [0, 0, 2, 1, 0, 0, 1, 3], mode: mode), [images[0]], layout: blocked)[0])
    }
    try harness.output(
      try harness.apply(
        Pad(pads: [0, 0, -1, 5, 0, 0, 7, -2], mode: .edge), [images[3]], layout: blocked)[0])
    try harness.output(
      try harness.apply(Pad(pads: [0, 0, -1, 5, 0, 0, 7, -2], mode: .edge), [plain])[0])
    try harness.output(
      try harness.apply(
        ConstantOfShape(shape: [.batch, 5000], dtype: .float32, value: .real(0.5)), [])[0])
    let thin = harness.input([.batch, 6, 1, 5])
    try harness.output(try harness.apply(Expand(shape: [.batch, 6, 4, 5]), [thin])[0])
    let indices = harness.graph.addParameter(
      "indices", TensorType(.int64, [3]),
      Parameter(data: try TensorData([4, 0, -1] as [Int64], shape: [3])))
    try harness.output(try harness.apply(Gather(axis: 1), [plain, indices])[0])
    try harness.output(try harness.apply(Reshape(shape: [.batch, 120]), [plain])[0])
    try harness.check(tolerance: 0)
  }

  /// A resize to the nearest element by a whole factor is one copy, and many irregular indices are read at run time.
  @Test func constantIndicesAreAsFewCopiesAsTheyHaveRuns() throws {
    let cases = [
      ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], ["copy"]), ([4, 3, 2, 1, 0], ["copy"]),
      ([0, 0, 0, 2, 1, 3, 2], ["copy", "copy"]), ([2], ["copy"]),
      ([0, 1, 3, 0, 4, 4, 2, 3, 1, 4, 1, 1, 0, 2, 0, 4, 2, 0, 3, 2], ["gather"]),
    ]
    var harness = KernelHarness(seed: 7)
    let x = harness.input([.batch, 5, 5, 5])
    for axis in 1...3 {
      for (indices, _) in cases {
        let chosen = harness.graph.addParameter(
          harness.graph.unusedName("indices"), TensorType(.int64, [Dimension(indices.count)]),
          Parameter(data: try TensorData(indices.map(Int64.init), shape: [indices.count])))
        try harness.output(try harness.apply(Gather(axis: axis), [x, chosen])[0])
      }
    }
    let steps = try harness.generate().programs[0].steps
    #expect(
      steps.map { String($0.kernel.prefix { $0 != "_" }) }
        == (1...3).flatMap { _ in cases.flatMap(\.1) })
    try harness.check(tolerance: 0)
  }

  @Test func runsOfIndicesAreAsLongAsPossible() {
    func runs(_ indices: [Int], atMost limit: Int = 9) -> [[Int]]? {
      IndexRun.covering(indices, atMost: limit)?.map {
        [$0.first, $0.count, $0.step, $0.innerCount, $0.innerStep]
      }
    }
    #expect(runs([]) == [])
    #expect(runs([3]) == [[3, 1, 0, 1, 0]])
    #expect(runs([1, 1, 1]) == [[1, 1, 0, 3, 0]])
    #expect(runs([6, 4, 2]) == [[6, 1, 0, 3, -2]])
    #expect(runs([0, 0, 1, 1, 2, 2]) == [[0, 3, 1, 2, 0]])
    #expect(runs([0, 0, 1, 1, 2]) == [[0, 2, 1, 2, 0], [2, 1, 0, 1, 0]])
    #expect(runs([0, 1, 1, 2, 2, 3, 3, 3]) == [[0, 3, 1, 2, 1], [3, 1, 0, 2, 0]])
    #expect(runs([0, 1, 2, 0, 1, 2]) == [[0, 2, 0, 3, 1]])
    #expect(runs([5, 0, 4, 4, 1], atMost: 3)?.count == 3)
    #expect(runs([5, 0, 4, 4, 1], atMost: 2) == nil)
  }
}
