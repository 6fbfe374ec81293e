// Every kernel of training against the reference evaluator in double precision: odd shapes, blocks, planes
// and plain values, batches of 3, 1 and 2, the same bits at one and two threads.

import GraftCodegen
import GraftIR
import GraftOps
import Testing

@Suite struct TrainingKernelTests {
  struct Gradient {
    var channels, height, width, outputs: Int
    var kernel: [Int]
    var strides = [1, 1]
    var pads = [0, 0, 0, 0]
    var dilations = [1, 1]
    var groups = 1
    var isPlanar = false
    var isPlain = false
    var border = (height: 0, width: 0)
  }

  static func add(_ test: Gradient, to harness: inout KernelHarness) throws {
    let window = Window(
      kernel: test.kernel, strides: test.strides, pads: test.pads, dilations: test.dilations)
    let extents = (0..<2).map { axis in
      ([test.height, test.width][axis] + test.pads[axis] + test.pads[axis + 2]
        - window.reach(axis)) / test.strides[axis] + 1
    }
    let x: ValueID
    let dy: ValueID
    if test.isPlain {
      x = harness.input([.batch] + [test.channels, test.height, test.width].map { Dimension($0) })
      dy = harness.input([.batch] + ([test.outputs] + extents).map { Dimension($0) })
    } else {
      x = try harness.image(
        [test.channels, test.height, test.width],
        border: (max(test.pads[0], test.pads[2]), max(test.pads[1], test.pads[3])),
        isPlanar: test.isPlanar)
      dy = try harness.image(
        [test.outputs] + extents, border: (test.border.height, test.border.width))
    }
    let dw = try harness.apply(
      ConvolutionWeightGradient(window: window, groups: test.groups), [x, dy], layout: .plain)[0]
    try harness.output(dw)
  }

  @Test(arguments: [Target.native, .generic]) func weightGradients(target: Target) throws {
    var harness = KernelHarness(seed: 31, target: target)
    let same = [1, 1, 1, 1]
    let cases = [
      Gradient(channels: 16, height: 14, width: 14, outputs: 32, kernel: [3, 3], pads: same),
      Gradient(
        channels: 24, height: 7, width: 7, outputs: 40, kernel: [3, 3], pads: same,
        border: (1, 2)),
      Gradient(
        channels: 16, height: 15, width: 13, outputs: 16, kernel: [3, 3], strides: [2, 2],
        pads: same),
      Gradient(
        channels: 3, height: 21, width: 22, outputs: 20, kernel: [7, 7], strides: [2, 2],
        pads: [3, 3, 3, 3], isPlanar: true),
      Gradient(
        channels: 3, height: 12, width: 12, outputs: 16, kernel: [3, 3], pads: same,
        isPlanar: true),
      Gradient(channels: 70, height: 5, width: 6, outputs: 50, kernel: [1, 1]),
      Gradient(
        channels: 40, height: 9, width: 9, outputs: 8, kernel: [1, 1], strides: [2, 2]),
      Gradient(channels: 9, height: 12, width: 11, outputs: 17, kernel: [5, 4]),
      Gradient(channels: 5, height: 14, width: 14, outputs: 23, kernel: [11, 13]),
      Gradient(
        channels: 13, height: 9, width: 9, outputs: 9, kernel: [3, 3], pads: [2, 2, 2, 2],
        dilations: [2, 2]),
      Gradient(
        channels: 19, height: 9, width: 8, outputs: 19, kernel: [3, 3], pads: same, groups: 19),
      Gradient(
        channels: 16, height: 9, width: 8, outputs: 16, kernel: [5, 5], strides: [2, 1],
        pads: [2, 2, 2, 2], groups: 16),
      Gradient(
        channels: 32, height: 6, width: 7, outputs: 48, kernel: [3, 3], pads: same, groups: 2),
      Gradient(
        channels: 12, height: 6, width: 7, outputs: 18, kernel: [3, 3], pads: same, groups: 3),
      Gradient(
        channels: 4, height: 6, width: 7, outputs: 8, kernel: [2, 3], groups: 4, isPlanar: true),
      Gradient(
        channels: 3, height: 9, width: 7, outputs: 5, kernel: [3, 2], strides: [2, 2],
        pads: [1, 0, 1, 1], dilations: [1, 2], isPlain: true),
      Gradient(
        channels: 6, height: 9, width: 30, outputs: 4, kernel: [3, 3], pads: same, groups: 2,
        isPlain: true),
      Gradient(
        channels: 1, height: 3, width: 2, outputs: 2, kernel: [3, 3], pads: [2, 2, 2, 2],
        isPlain: true),
    ]
    for test in cases { try Self.add(test, to: &harness) }
    try harness.check()
  }

  @Test(arguments: [32, 33], Target.tested)
  func randomWeightGradients(seed: UInt64, target: Target) throws {
    var harness = KernelHarness(seed: seed, target: target)
    try Self.addRandom(14, to: &harness)
    try harness.check()
  }

  @Test(arguments: [35, 36], Target.tested)
  func randomWeightGradientsUnderSanitizers(seed: UInt64, target: Target) throws {
    var harness = KernelHarness(seed: seed, target: target)
    try Self.addRandom(14, to: &harness)
    try harness.checkSanitized()
  }

  @Test(
    arguments: [ConvolutionAlgorithm.winograd2, .winograd4], Target.tested)
  func winogradWeightGradients(algorithm: ConvolutionAlgorithm, target: Target) throws {
    var harness = KernelHarness(seed: 37, target: target, convolutions: algorithm)
    try Self.addWinograd(10, to: &harness)
    try harness.check()
  }

  @Test(
    arguments: [ConvolutionAlgorithm.winograd2, .winograd4], Target.tested)
  func winogradWeightGradientsUnderSanitizers(
    algorithm: ConvolutionAlgorithm, target: Target
  ) throws {
    var harness = KernelHarness(seed: 38, target: target, convolutions: algorithm)
    try Self.addWinograd(4, to: &harness)
    try harness.checkSanitized()
  }

  /// Images of one pixel and of many tiles, channels that leave vectors and register tiles half full, pads
  /// that differ, and borders beyond them. The first is split into several sets.
  private static func addWinograd(_ count: Int, to harness: inout KernelHarness) throws {
    try add(
      Gradient(
        channels: 150, height: 9, width: 10, outputs: 140, kernel: [3, 3], pads: [1, 1, 1, 1]),
      to: &harness)
    for _ in 0..<count {
      let pads = (0..<4).map { _ in harness.random.int(0...2) }
      try add(
        Gradient(
          channels: harness.random.int(1...70), height: 3 + harness.random.int(0...19),
          width: 3 + harness.random.int(0...19), outputs: harness.random.int(1...70),
          kernel: [3, 3], pads: pads, border: (harness.random.int(0...1), harness.random.int(0...1))
        ),
        to: &harness)
    }
    try add(
      Gradient(channels: 5, height: 1, width: 1, outputs: 3, kernel: [3, 3], pads: [1, 1, 1, 1]),
      to: &harness)
  }

  private static func addRandom(_ count: Int, to harness: inout KernelHarness) throws {
    for _ in 0..<count {
      let kernel = [harness.random.int(1...6), harness.random.int(1...6)]
      let kind = harness.random.int(0...4)
      let groups = kind == 0 ? harness.random.int(2...9) : 1
      let pads = (0..<4).map { _ in harness.random.int(0...2) }
      try add(
        Gradient(
          channels: groups * harness.random.int(1...30), height: 6 + harness.random.int(0...9),
          width: 6 + harness.random.int(0...9), outputs: groups * harness.random.int(1...30),
          kernel: kernel, strides: [harness.random.int(1...3), harness.random.int(1...3)],
          pads: pads, groups: groups, isPlanar: kind == 1, isPlain: kind == 2,
          border: (harness.random.int(0...1), harness.random.int(0...1))), to: &harness)
    }
  }

  // MARK: Images

  @Test func activationGradients() throws {
    var harness = KernelHarness(seed: 36)
    let activations: [Activation] = [
      .none, .relu, .clip(low: -0.5, high: 0.75), .leakyRelu(alpha: 0.1), .sigmoid, .tanh,
      .hardSigmoid(alpha: 0.2, beta: 0.5), .hardSwish, .silu,
    ]
    for activation in activations {
      let images = try (0..<2).map { _ in try harness.image([11, 3, 4], border: (0, 1)) }
      let plain = (0..<2).map { _ in harness.input([.batch, 37]) }
      let operation = ActivationGradient(activation: activation)
      try harness.output(
        try harness.apply(operation, images, layout: harness.blocked(border: (1, 1)))[0])
      try harness.output(try harness.apply(operation, plain)[0])
    }
    try harness.check(range: -4...4)
  }

  /// Numbers rounded down, so that windows have several equal maxima.
  @Test func pools() throws {
    var harness = KernelHarness(seed: 37)
    for isPlain in [false, true] {
      for _ in 0..<8 {
        let kernel = [harness.random.int(1...4), harness.random.int(1...4)]
        let window = Window(
          kernel: kernel, strides: [harness.random.int(1...3), harness.random.int(1...4)],
          pads: [
            harness.random.int(0...(kernel[0] - 1)), harness.random.int(0...(kernel[1] - 1)),
            harness.random.int(0...(kernel[0] - 1)), harness.random.int(0...(kernel[1] - 1)),
          ])
        let shape = [
          harness.random.int(1...20), harness.random.int(5...11), harness.random.int(5...11),
        ]
        let ceil = harness.random.int(0...1) == 1
        let layout = { (border: (Int, Int)) in
          isPlain ? Layout.plain : harness.blocked(border: border)
        }
        let source =
          isPlain ? harness.input([.batch] + shape.map { Dimension($0) }) : try harness.image(shape)
        let x = try harness.apply(Floor(), [source], layout: layout((0, 1)))[0]
        let pool = MaxPool(window: window, ceil: ceil)
        let y = try harness.apply(pool, [x], layout: layout((1, 0)))[0]
        let extents = harness.graph.type(of: y).shape.dimensions.compactMap(\.constant)
        let dy =
          isPlain
          ? harness.input([.batch] + extents.map { Dimension($0) })
          : try harness.image(extents, border: (0, 1))
        try harness.output(
          try harness.apply(
            MaxPoolGradient(pool: pool), [dy, x, y], layout: layout((1, 1)))[0])
        for countsPads in [true, false] {
          let average = AveragePool(window: window, ceil: ceil, countIncludePad: countsPads)
          try harness.output(
            try harness.apply(
              AveragePoolGradient(pool: average, extents: Array(shape[1...])), [dy],
              layout: layout((0, 0)))[0])
        }
      }
    }
    try harness.check(range: -3...3)
  }

  @Test func movedAndSummed() throws {
    var harness = KernelHarness(seed: 38)
    let zeros = InsertZeros(strides: [2, 3], extents: [9, 11])
    let image = try harness.image([11, 4, 3], border: (1, 0))
    try harness.output(
      try harness.apply(zeros, [image], layout: harness.blocked(border: (2, 1)))[0])
    let plain = harness.input([.batch, 5, 5, 4])
    try harness.output(try harness.apply(zeros, [plain])[0])
    for (shape, groups) in [([6, 4, 3, 2], 1), ([6, 4, 3, 3], 2), ([5, 1, 3, 3], 5)] {
      let w = harness.input(shape.map { Dimension($0) })
      try harness.output(try harness.apply(TransposeWeights(groups: groups), [w])[0])
    }
    for columns in [1, 5, 16, 33, 48, 130] {
      let table = harness.input([.batch(times: 75), Dimension(columns)])
      try harness.output(try harness.apply(ReduceSum(axes: [0]), [table])[0])
    }
    for axes in [[0], [1], [3], [0, 1], [2, 3], [0, 1, 2], [0, 1, 2, 3]] {
      for keeps in [false, true] {
        try harness.output(
          try harness.apply(ReduceSum(axes: axes, keepsAxes: keeps), [plain])[0])
      }
    }
    try harness.check(tolerance: 1e-6)
  }

  /// The masks are the reference's, element by element.
  @Test func dropout() throws {
    var harness = KernelHarness(seed: 41)
    let random = harness.graph.addInput("random", TensorType(.int32, [4]))
    let words: [UInt32] = [0xdead_beef, 0x8000_0001, 41, 0]
    harness.given[random] = words.map { Float(bitPattern: $0) }
    for (shape, ratio, stream) in [
      ([Dimension(1025)], 0.5, 0), ([3, 5, 7], 0.2, 1), ([Dimension(9)], 0, 2),
    ] {
      let x = harness.input([.batch] + shape)
      try harness.output(
        try harness.apply(RandomDropout(ratio: ratio, stream: stream), [x, random])[0])
    }
    try harness.check(tolerance: 1e-6)
  }

  // MARK: Updates

  @Test func optimizers() throws {
    var harness = KernelHarness(seed: 42)
    let table = harness.input(
      [2, 8],
      given: [
        0.1, 0.9, 0.01, 0.9, 0.999, 1e-8, 0.1, 0.001,
        0.02, 0.8, 0.05, 0.8, 0.99, 1e-3, 0.36, 0.0199,
      ])
    for (count, group) in [(3, 0), (64, 1), (9000, 1)] {
      let shape: [Dimension] = [Dimension(count)]
      func tensor() -> ValueID { harness.input(shape) }
      let (w, gradient, momentum) = (tensor(), tensor(), tensor())
      let second = tensor()
      harness.mapped[second] = { $0 * $0 }
      let factor = harness.input([1], given: [0.7])
      let updates: [(any GraftOps.Operator, [ValueID?])] = [
        (SGDUpdate(group: group), [w, gradient, table]),
        (SGDUpdate(group: group), [w, gradient, table, momentum]),
        (SGDUpdate(group: group, isNesterov: true), [w, gradient, table, momentum, factor]),
        (AdamUpdate(group: group), [w, gradient, table, momentum, second]),
        (
          AdamUpdate(group: group, isDecoupled: true),
          [w, gradient, table, momentum, second, factor]
        ),
        (MovingAverage(momentum: 0.1), [w, gradient]),
      ]
      for (operation, operands) in updates {
        for result in try harness.apply(operation, operands) { try harness.output(result) }
      }
    }
    try harness.check(batches: [1], tolerance: 1e-6)
  }

  @Test func clippingAndAccumulation() throws {
    var harness = KernelHarness(seed: 43)
    let tensors = [3, 64, 40_000].map { harness.input([Dimension($0)]) }
    let squares = try tensors.map { try harness.apply(SquareSum(), [$0])[0] }
    for value in squares { try harness.output(value) }
    for limit in [1, 5, .infinity] as [Float] {
      let settings = harness.input([8], given: [limit, 1, 1, 0, 0, 0, 0, 0])
      try harness.output(try harness.apply(ClipFactor(), [settings] + squares)[0])
      let many = (0..<13).flatMap { _ in squares }
      try harness.output(try harness.apply(ClipFactor(), [settings] + many)[0])
    }
    for keep in [0, 1] as [Float] {
      let settings = harness.input([8], given: [1, keep, 1, 0, 0, 0, 0, 0])
      let sum = harness.input([77], given: Array(repeating: keep == 0 ? .nan : 0.25, count: 77))
      let gradient = harness.input([77])
      try harness.output(try harness.apply(Accumulate(), [sum, gradient, settings])[0])
    }
    try harness.check(batches: [1], tolerance: 1e-6)
  }
}
