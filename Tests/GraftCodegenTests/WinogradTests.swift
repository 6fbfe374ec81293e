// Winograd's convolution: its matrices against the correlation that they stand for, its kernels against the
// reference evaluator over sizes that leave partial tiles everywhere, and when it is chosen.

import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftCodegen

@Suite struct WinogradTests {
  /// A · ((G · g) ⊙ (B · d)) is the correlation of d with g. All inputs are small integers and the points dyadic,
  /// so that only G rounds.
  @Test(arguments: [WinogradTransform.two, .four, .twoOfTwo, .threeOfTwo])
  func transformsComputeACorrelation(transform: WinogradTransform) {
    let (input, weight, output) = (
      transform.inputMatrix, transform.weightMatrix, transform.outputMatrix
    )
    for position in 0..<transform.side {
      for tap in 0..<transform.taps {
        // Both sides are bilinear: unit vectors are enough.
        for row in 0..<transform.step {
          let sum = (0..<transform.side).reduce(0.0) {
            $0 + output[row][$1] * weight[$1][tap] * input[$1][position]
          }
          #expect(abs(sum - (row + tap == position ? 1 : 0)) < 1e-14)
        }
      }
    }
  }

  /// Lavin and Gray 2015, equations 8 and 9: their matrices are for the points 0, ±1 and ±2.
  @Test func matricesOfTheLiterature() {
    let classic = WinogradTransform(step: 4, taps: 3, points: [0, 1, -1, 2, -2])
    #expect(
      classic.inputMatrix == [
        [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
      ])
    #expect(
      classic.outputMatrix == [
        [1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1],
      ])
    let twentyFourths: [[Double]] = [
      [6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24],
    ]
    #expect(classic.weightMatrix == twentyFourths.map { $0.map { $0 / 24 } })
    #expect(WinogradTransform.two.inputMatrix[0] == [-1, 0, 1, 0])
  }

  @Test func opposedPointsShareTheirParts() {
    #expect(
      WinogradTransform.two.inputStatements(from: "d", to: "t") == """
        t[0] = d[2] - d[0];
        const vf even1 = d[2];
        const vf odd1 = d[1];
        t[1] = even1 + odd1;
        t[2] = even1 - odd1;
        t[3] = d[3] - d[1];
        """)
    #expect(
      WinogradTransform.two.outputStatements(from: "p", to: "t") == """
        const vf sum1 = p[1] + p[2];
        const vf difference1 = p[1] - p[2];
        t[0] = p[0] + sum1;
        t[1] = difference1 + p[3];
        """)
  }

  private static let cases: [ConvolutionKernelTests.Case] = [
    // One row, one column, one pixel, one channel.
    .init(channels: 9, height: 1, width: 13, outputs: 7, kernel: [3, 3], pads: [1, 1, 1, 1]),
    .init(channels: 17, height: 11, width: 1, outputs: 9, kernel: [3, 3], pads: [1, 1, 1, 1]),
    .init(channels: 5, height: 1, width: 1, outputs: 33, kernel: [3, 3], pads: [1, 1, 1, 1]),
    .init(channels: 1, height: 6, width: 6, outputs: 1, kernel: [3, 3], hasBias: false),
    // Partial tiles at both edges, with all of the epilogue and with borders around the result.
    .init(
      channels: 19, height: 13, width: 10, outputs: 41, kernel: [3, 3], pads: [1, 1, 1, 1],
      hasResidual: true, activation: .relu, resultBorder: (1, 1)),
    .init(
      channels: 40, height: 7, width: 7, outputs: 24, kernel: [3, 3], pads: [1, 1, 1, 1],
      hasResidual: true, activation: .hardSwish, resultBorder: (2, 1)),
    // Asymmetric pads, no pads, wide pads.
    .init(
      channels: 12, height: 9, width: 14, outputs: 20, kernel: [3, 3], pads: [0, 1, 2, 0],
      activation: .leakyRelu(alpha: 0.1), resultBorder: (0, 3)),
    .init(channels: 16, height: 12, width: 8, outputs: 16, kernel: [3, 3], hasResidual: true),
    .init(channels: 8, height: 5, width: 6, outputs: 8, kernel: [3, 3], pads: [3, 2, 2, 3]),
    // Several chunks of channels, and outputs that threads share, with a last set and group of less.
    .init(
      channels: 136, height: 5, width: 9, outputs: 200, kernel: [3, 3], pads: [1, 1, 1, 1],
      activation: .relu, resultBorder: (1, 1)),
    // Several blocks of tiles.
    .init(
      channels: 24, height: 61, width: 37, outputs: 24, kernel: [3, 3], pads: [1, 1, 1, 1],
      hasResidual: true),
    // 2×2, as transposed convolutions have them: one pixel, both parities, wide pads, chunks, many tiles.
    .init(channels: 5, height: 1, width: 1, outputs: 33, kernel: [2, 2], pads: [1, 1, 1, 1]),
    .init(
      channels: 19, height: 13, width: 10, outputs: 41, kernel: [2, 2], pads: [1, 1, 1, 1],
      hasResidual: true, activation: .relu, resultBorder: (1, 1)),
    .init(channels: 12, height: 9, width: 14, outputs: 20, kernel: [2, 2], pads: [0, 1, 2, 0]),
    .init(
      channels: 136, height: 5, width: 9, outputs: 200, kernel: [2, 2], pads: [1, 1, 1, 1],
      activation: .leakyRelu(alpha: 0.1)),
    .init(channels: 24, height: 61, width: 37, outputs: 24, kernel: [2, 2]),
  ]

  /// Every image of a batch, at every position, on one thread and on several, gives the same bits.
  @Test(arguments: [ConvolutionAlgorithm.winograd2, .winograd4])
  func everySizeAndEpilogue(algorithm: ConvolutionAlgorithm) throws {
    var harness = KernelHarness(seed: 31, convolutions: algorithm)
    for test in Self.cases { try ConvolutionKernelTests.add(test, to: &harness) }
    let model = try harness.generate()
    #expect(
      model.programs[0].steps.filter { $0.algorithm.contains("Winograd") }.count == Self.cases.count
    )
    try harness.check(threads: [1, 2, 3], tolerance: 4e-6)
  }

  @Test(arguments: [ConvolutionAlgorithm.winograd2, .winograd4])
  func otherTargets(algorithm: ConvolutionAlgorithm) throws {
    var harness = KernelHarness(seed: 32, target: .generic, convolutions: algorithm)
    for test in Self.cases.prefix(7) + Self.cases.suffix(5) {
      try ConvolutionKernelTests.add(test, to: &harness)
    }
    try harness.check(batches: [2], tolerance: 4e-6)
  }

  @Test(arguments: [ConvolutionAlgorithm.winograd2, .winograd4], Target.tested)
  func underSanitizers(algorithm: ConvolutionAlgorithm, target: Target) throws {
    var harness = KernelHarness(seed: 35, target: target, convolutions: algorithm)
    for test in Self.cases { try ConvolutionKernelTests.add(test, to: &harness) }
    try harness.checkSanitized(tolerance: 4e-6)
  }

  @Test func imagesOfABatchDoNotTouch() throws {
    var harness = KernelHarness(seed: 33, convolutions: .winograd4)
    try ConvolutionKernelTests.addNarrow(outputs: [24, 200], to: &harness)
    try harness.checkBatchPositions(batch: 5)
  }

  /// Transformed while compiling or while the network runs: the same bits.
  @Test(arguments: [ConvolutionAlgorithm.winograd2, .winograd4], [Target.native, .generic])
  func computedWeights(algorithm: ConvolutionAlgorithm, target: Target) throws {
    var harness = KernelHarness(seed: 34, target: target, convolutions: algorithm)
    for test in Self.cases { try ConvolutionKernelTests.add(test, to: &harness) }
    try ComputedWeightTests.compare(&harness)
  }

  @Test func chosenWhereItSaves() throws {
    func choice(
      _ channels: Int, _ size: Int, _ target: Target = .x8664v3, stride: Int = 1, batch: Int = 1
    ) throws -> ConvolutionAlgorithm {
      var harness = KernelHarness(seed: 35, target: target)
      try ConvolutionKernelTests.add(
        .init(
          channels: channels, height: size, width: size, outputs: channels, kernel: [3, 3],
          strides: [stride, stride], pads: [1, 1, 1, 1]), to: &harness)
      let kernels = try harness.schedules(typicalBatch: batch).compactMap {
        $0 as? any ConvolutionKernel
      }
      return try #require(kernels.first).algorithm
    }
    // The 3x3 of ResNets and of VGG.
    for (channels, size) in [(64, 56), (128, 28), (256, 14), (64, 224), (128, 112), (512, 28)] {
      #expect(try choice(channels, size) == .winograd4)
    }
    // Few tiles do not pay for four times the weights, but those of a batch do.
    #expect(try choice(512, 7) == .winograd2)
    #expect(try choice(512, 7, batch: 16) == .winograd4)
    #expect(try choice(512, 7, .x8664v4) == .winograd2)
    // The phases of a transposed convolution of 4×4 (Radford et al. 2016).
    var harness = KernelHarness(seed: 36, target: .x8664v4)
    try ConvolutionKernelTests.add(
      .init(
        channels: 128, height: 16, width: 16, outputs: 256, kernel: [2, 2], pads: [1, 1, 1, 1]),
      to: &harness)
    let phases = try harness.schedules(typicalBatch: 1).compactMap { $0 as? any ConvolutionKernel }
    #expect(phases.first?.algorithm == .winograd4)
    // Two output pixels of sixteen, beside transforms.
    #expect(try choice(8, 2) == .direct)
    #expect(try choice(64, 56, stride: 2) == .direct)
  }

  /// Products and transforms fill the second-level cache by half, unless weights are what does not fit.
  @Test func scratchOfSchedules() {
    let shape = ConvolutionShape(
      channels: 64, height: 56, width: 56, outputs: 64, resultHeight: 56, resultWidth: 56,
      window: Window(kernel: [3, 3], pads: [1, 1, 1, 1]), groups: 1)
    for target in [Target.generic, .x8664v3, .x8664v4, .aarch64] {
      let schedule = WinogradSchedule(shape, transform: .two, images: .batch, target: target)
      #expect(schedule.blockTiles % schedule.groupTiles == 0)
      #expect(schedule.scratchFloats(lanes: target.lanes) * 4 <= target.cacheBytes * 3 / 4)
      let one = WinogradSchedule(shape, transform: .four, images: 1, target: target)
      #expect(one.blockTiles < one.tiles + one.groupTiles)
    }
  }

  @Test func goldenWinograd() throws {
    var harness = KernelHarness(seed: 26, target: .x8664v3, convolutions: .winograd4)
    try ConvolutionKernelTests.add(
      .init(
        channels: 20, height: 9, width: 9, outputs: 40, kernel: [3, 3], pads: [1, 1, 1, 1],
        hasResidual: true, activation: .relu, resultBorder: (1, 1)), to: &harness)
    let model = try harness.generate()
    let source = try #require(model.sources.first { $0.name == "kernels_1.c" })
    let kernel = try #require(
      source.text.components(separatedBy: "\n/* Convolution").first {
        $0.contains("void conv_f32_3x3_winograd4")
      })
    try expectGolden("/* Convolution" + kernel, "winograd_kernel.c.txt")
  }
}
