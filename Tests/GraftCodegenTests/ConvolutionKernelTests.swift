// Convolution kernels against the reference evaluator, over shapes that do not divide by anything.

import GraftCodegen
import GraftIR
import GraftOps
import Testing

@Suite struct ConvolutionKernelTests {
  struct Case {
    var channels, height, width, outputs: Int
    var kernel: [Int]
    var strides = [1, 1]
    var pads = [0, 0, 0, 0]
    var dilations = [1, 1]
    var groups = 1
    var isPlanar = false
    var hasBias = true
    var hasResidual = false
    var activation = Activation.none
    var resultBorder = (height: 0, width: 0)
    /// Images and result as callers pass them.
    var isPlain = false
  }

  static func add(_ test: Case, to harness: inout KernelHarness) throws {
    let border = (max(test.pads[0], test.pads[2]), max(test.pads[1], test.pads[3]))
    let extents = [test.channels, test.height, test.width]
    let x =
      test.isPlain
      ? harness.input([.batch] + extents.map { Dimension($0) })
      : try harness.image(extents, border: border, isPlanar: test.isPlanar)
    let w = try harness.parameter(
      [test.outputs, test.channels / test.groups] + test.kernel,
      scale: 1 / Float(test.channels / test.groups * test.kernel[0] * test.kernel[1]).squareRoot())
    let bias = test.hasBias ? try harness.parameter([test.outputs]) : nil
    let operation = Convolution(
      strides: test.strides, pads: test.pads, dilations: test.dilations, groups: test.groups,
      activation: test.activation)
    var residual: ValueID?
    if test.hasResidual {
      let type = try operation.inferTypes([
        TensorType(
          .float32,
          [
            .batch, Dimension(test.channels), Dimension(test.height), Dimension(test.width),
          ]), harness.graph.type(of: w),
      ])[0]
      residual =
        test.isPlain
        ? harness.input(type.shape.dimensions)
        : try harness.image(
          type.shape.dimensions.dropFirst().compactMap(\.constant), border: (1, 0))
    }
    let y = try harness.apply(
      operation, [x, w, bias, residual],
      layout: test.isPlain ? .plain : harness.blocked(border: test.resultBorder))
    try harness.output(y[0])
  }

  /// Convolutions of odd extents, whose images would show it if a batch's others touched them.
  static func addNarrow(outputs: [Int], to harness: inout KernelHarness) throws {
    for outputs in outputs {
      try add(
        .init(
          channels: 20, height: 10, width: 7, outputs: outputs, kernel: [3, 3],
          pads: [1, 1, 1, 1], activation: .relu), to: &harness)
    }
  }

  @Test func shapesOfRealNetworks() throws {
    var harness = KernelHarness(seed: 1)
    let cases = [
      Case(
        channels: 3, height: 32, width: 32, outputs: 16, kernel: [3, 3], pads: [1, 1, 1, 1],
        isPlanar: true, activation: .relu, resultBorder: (1, 1)),
      Case(
        channels: 3, height: 30, width: 30, outputs: 24, kernel: [7, 7], strides: [2, 2],
        pads: [3, 3, 3, 3], isPlanar: true),
      Case(
        channels: 16, height: 32, width: 32, outputs: 16, kernel: [3, 3], pads: [1, 1, 1, 1],
        hasResidual: true, activation: .relu, resultBorder: (1, 1)),
      Case(
        channels: 64, height: 7, width: 7, outputs: 64, kernel: [3, 3], pads: [1, 1, 1, 1],
        hasResidual: true, activation: .relu),
      Case(channels: 256, height: 7, width: 7, outputs: 320, kernel: [1, 1], activation: .relu),
      Case(
        channels: 600, height: 5, width: 5, outputs: 40, kernel: [1, 1], hasResidual: true),
      Case(
        channels: 32, height: 28, width: 28, outputs: 64, kernel: [1, 1], strides: [2, 2],
        hasBias: false),
      Case(
        channels: 96, height: 14, width: 14, outputs: 96, kernel: [3, 3], strides: [2, 2],
        pads: [1, 1, 1, 1], groups: 96, activation: .clip(low: 0, high: 6)),
      Case(
        channels: 32, height: 17, width: 17, outputs: 32, kernel: [7, 1], pads: [3, 0, 3, 0]),
      Case(
        channels: 32, height: 17, width: 17, outputs: 32, kernel: [1, 7], pads: [0, 3, 0, 3]),
    ]
    for test in cases { try Self.add(test, to: &harness) }
    try harness.check()
  }

  @Test(arguments: [2, 3, 4], Target.tested) func randomShapes(seed: UInt64, target: Target) throws
  {
    var harness = KernelHarness(seed: seed, target: target)
    try Self.addRandom(16, to: &harness)
    try harness.check()
  }

  @Test(arguments: [9, 10, 11], Target.tested)
  func randomShapesUnderSanitizers(seed: UInt64, target: Target) throws {
    var harness = KernelHarness(seed: seed, target: target)
    try Self.addRandom(16, to: &harness)
    try harness.checkSanitized()
  }

  /// Any kernel, stride, padding, dilation, groups and epilogue over images from one pixel on.
  private static func addRandom(_ count: Int, to harness: inout KernelHarness) throws {
    for _ in 0..<count {
      let kernel = [harness.random.int(1...5), harness.random.int(1...5)]
      let dilations = [harness.random.int(1...2), harness.random.int(1...2)]
      let pads = (0..<4).map { _ in harness.random.int(0...2) }
      let groupKind = harness.random.int(0...3)
      let groups = groupKind == 0 ? harness.random.int(2...5) : 1
      let perGroup = harness.random.int(1...12)
      let outputsPerGroup = harness.random.int(1...12)
      let reach = (0..<2).map { (kernel[$0] - 1) * dilations[$0] + 1 }
      try add(
        Case(
          channels: groups == 1 ? harness.random.int(1...40) : groups * perGroup,
          height: max(1, reach[0] - pads[0] - pads[2]) + harness.random.int(0...9),
          width: max(1, reach[1] - pads[1] - pads[3]) + harness.random.int(0...9),
          outputs: groups == 1 ? harness.random.int(1...60) : groups * outputsPerGroup,
          kernel: kernel, strides: [harness.random.int(1...6), harness.random.int(1...3)],
          pads: pads, dilations: dilations, groups: groups, isPlanar: groupKind == 1,
          hasBias: harness.random.int(0...1) == 0, hasResidual: harness.random.int(0...1) == 0,
          activation: [.none, .relu, .leakyRelu(alpha: 0.1), .hardSwish][harness.random.int(0...3)],
          resultBorder: (harness.random.int(0...2), harness.random.int(0...2))), to: &harness)
    }
  }

  /// ResNeXt's and ShuffleNet's groups, groups that fill no block, and two filters for each channel.
  @Test func groups() throws {
    var harness = KernelHarness(seed: 6)
    for (channels, outputs, groups, kernel) in [
      (128, 128, 32, 3), (256, 256, 32, 3), (60, 240, 3, 1), (60, 60, 3, 1), (112, 112, 4, 1),
      (18, 30, 6, 3), (7, 14, 7, 5), (24, 24, 2, 2), (6, 3, 3, 1),
    ] {
      try Self.add(
        Case(
          channels: channels, height: 6, width: 9, outputs: outputs, kernel: [kernel, kernel],
          strides: [1, harness.random.int(1...2)],
          pads: (0..<4).map { _ in harness.random.int(0...2) },
          dilations: [harness.random.int(1...2), 1], groups: groups,
          hasResidual: harness.random.int(0...1) == 0, activation: .relu, resultBorder: (1, 1)),
        to: &harness)
    }
    try harness.check()
  }

  @Test(arguments: [7, 8]) func plainImages(seed: UInt64) throws {
    var harness = KernelHarness(seed: seed)
    for _ in 0..<14 {
      let kernel = [harness.random.int(1...5), harness.random.int(1...5)]
      let dilations = [harness.random.int(1...2), harness.random.int(1...2)]
      let pads = (0..<4).map { _ in harness.random.int(0...3) }
      let groups = harness.random.int(1...3)
      let reach = (0..<2).map { (kernel[$0] - 1) * dilations[$0] + 1 }
      try Self.add(
        Case(
          channels: groups * harness.random.int(1...3),
          height: max(1, reach[0] - pads[0] - pads[2]) + harness.random.int(0...5),
          width: max(1, reach[1] - pads[1] - pads[3]) + harness.random.int(0...30),
          outputs: groups * harness.random.int(1...9), kernel: kernel,
          strides: [harness.random.int(1...3), harness.random.int(1...3)], pads: pads,
          dilations: dilations, groups: groups, hasBias: harness.random.int(0...1) == 0,
          hasResidual: harness.random.int(0...1) == 0,
          activation: [.none, .relu, .silu][harness.random.int(0...2)], isPlain: true),
        to: &harness)
    }
    try harness.check()
  }

  @Test func depthwiseOfManyShapes() throws {
    var harness = KernelHarness(seed: 5)
    for _ in 0..<12 {
      let channels = harness.random.int(2...40)
      let kernel = [harness.random.int(1...5), harness.random.int(1...5)]
      try Self.add(
        Case(
          channels: channels, height: harness.random.int(5...12),
          width: harness.random.int(5...20), outputs: channels, kernel: kernel,
          strides: [harness.random.int(1...2), harness.random.int(1...2)],
          pads: (0..<4).map { _ in harness.random.int(0...2) }, groups: channels,
          hasResidual: harness.random.int(0...1) == 0, activation: .silu,
          resultBorder: (1, 2)), to: &harness)
    }
    try harness.check()
  }
}
