// Convolutions by products of tiles of bfloat16 (AMX), on numbers that bfloat16 has exactly; those of bytes are tested in
// QuantizedKernelTests.

import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftCodegen

/// Shapes that take every way through a schedule of tiles: gathered and not, rows and all pixels as one, several strips
/// of lines, one block of outputs and many, a last tile that overlaps the one before.
struct TileCase: Sendable {
  var channels: Int
  var outputs: Int
  var kernel: [Int]
  var strides = [1, 1]
  var pads = [0, 0, 0, 0]
  var dilations = [1, 1]
  var side: [Int]

  static let all = [
    TileCase(channels: 64, outputs: 70, kernel: [1, 1], side: [14, 14]),
    TileCase(channels: 200, outputs: 33, kernel: [1, 1], strides: [2, 2], side: [15, 9]),
    TileCase(channels: 1100, outputs: 3, kernel: [1, 1], side: [25, 24]),
    TileCase(channels: 96, outputs: 20, kernel: [3, 3], pads: [1, 1, 1, 1], side: [4, 31]),
    TileCase(
      channels: 40, outputs: 20, kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], side: [9, 33]),
    TileCase(channels: 130, outputs: 16, kernel: [1, 7], pads: [0, 3, 0, 3], side: [4, 17]),
    TileCase(
      channels: 3, outputs: 35, kernel: [7, 7], strides: [2, 2], pads: [3, 3, 3, 3], side: [20, 36]),
    TileCase(channels: 16, outputs: 17, kernel: [3, 3], pads: [1, 1, 1, 1], side: [5, 19]),
    TileCase(
      channels: 20, outputs: 40, kernel: [3, 3], pads: [2, 2, 2, 2], dilations: [2, 2],
      side: [5, 9]),
  ]
}

struct TileTests {
  private static func rounded(_ number: Float) -> Float {
    Float(bitPattern: UInt32(number.bfloat16Bits) << 16)
  }

  private static func parameter(_ shape: [Int], in harness: inout KernelHarness) throws -> ValueID {
    let elements = (0..<shape.reduce(1, *)).map { _ in rounded(harness.random.float()) }
    return harness.graph.addParameter(
      harness.graph.unusedName("p"), TensorType(.float32, TensorShape(shape)),
      Parameter(data: try TensorData(elements, shape: shape)))
  }

  private static func add(_ test: TileCase, to harness: inout KernelHarness) throws {
    let convolution = Convolution(
      strides: test.strides, pads: test.pads, dilations: test.dilations, groups: 1,
      activation: [.none, .relu, .silu][harness.random.int(0...2)])
    let plain = harness.input([.batch] + ([test.channels] + test.side).map { Dimension($0) })
    harness.mapped[plain] = { rounded($0) }
    let isPlanar = test.channels <= 4
    let x = try harness.convert(
      plain,
      Layout(
        channelBlock: isPlanar ? 1 : harness.target.lanes, borderHeight: test.pads[0],
        borderWidth: test.pads[1]))
    var operands: [ValueID?] = [
      x, try parameter([test.outputs, test.channels] + test.kernel, in: &harness),
      harness.random.int(0...1) == 0 ? nil : try parameter([test.outputs], in: &harness),
    ]
    if harness.random.int(0...1) == 0 {
      let types = operands.map { value in value.map { harness.graph.type(of: $0) } }
      let shape = try Convolution(
        strides: test.strides, pads: test.pads, dilations: test.dilations, groups: 1
      ).inferTypes(types)[0].shape
      operands.append(
        try harness.image(shape.dimensions.dropFirst().map { try #require($0.constant) }))
    }
    let y = try harness.apply(
      convolution, operands,
      layout: .blocked(
        harness.target.lanes,
        border: (height: harness.random.int(0...1), width: harness.random.int(0...2))))[0]
    try harness.output(y)
  }

  @Test(arguments: [1, 2, 3]) func convolutions(seed: UInt64) throws {
    guard Target.x8664v4amx.isRunnable else { return }
    var harness = KernelHarness(seed: seed, target: .x8664v4amx)
    harness.roundsFactors = true
    for test in TileCase.all { try Self.add(test, to: &harness) }
    let tiles = try harness.schedules().filter { $0 is HalfTiles }
    #expect(tiles.count == TileCase.all.count)
    if seed == 3 {
      try harness.checkSanitized(batch: 1)
    } else {
      try harness.check(batches: [2])
    }
  }

  /// Without leave, and on other targets, factors are not rounded.
  @Test func onlyWhereAllowed() throws {
    for (target, roundsFactors) in [(Target.x8664v4amx, false), (.x8664v4, true)] {
      var harness = KernelHarness(seed: 4, target: target)
      harness.roundsFactors = roundsFactors
      try Self.add(TileCase.all[0], to: &harness)
      #expect(try !harness.schedules().contains { $0 is HalfTiles })
    }
  }

  /// Each variant that is worth measuring computes the same.
  @Test func variants() throws {
    guard Target.x8664v4amx.isRunnable else { return }
    var harness = KernelHarness(seed: 5, target: .x8664v4amx)
    harness.roundsFactors = true
    try Self.add(TileCase.all[3], to: &harness)
    let candidates = try harness.candidates()
    let (site, variants) = try #require(candidates.first)
    #expect(variants.first?.algorithm == .matrixTiles)
    #expect(Set(variants.map(\.algorithm)).isSuperset(of: [.matrixTiles, .direct, .winograd4]))
    for variant in variants.filter({ $0.algorithm == .matrixTiles }) {
      harness.convolutions = ConvolutionChoices(variants: [site: variant])
      #expect(try harness.schedules().contains { $0 is HalfTiles })
      try harness.check(batches: [1])
    }
  }

  // MARK: Products

  /// Any depth and number of rows and outputs, transposed or not, with residuals and several matrices.
  @Test(arguments: [6, 7]) func products(seed: UInt64) throws {
    guard Target.x8664v4amx.isRunnable else { return }
    var harness = KernelHarness(seed: seed, target: .x8664v4amx)
    harness.roundsFactors = true
    for (rows, depth, outputs) in [
      (1, 64, 70), (40, 200, 33), (3, 31, 50), (150, 12, 16), (197, 96, 48),
    ] {
      let x = harness.input([Dimension(rows), Dimension(depth)])
      harness.mapped[x] = { Self.rounded($0) }
      let isTransposed = harness.random.int(0...1) == 0
      let w = try Self.parameter(isTransposed ? [outputs, depth] : [depth, outputs], in: &harness)
      var operands: [ValueID?] = [x, w, try harness.parameter([outputs])]
      if harness.random.int(0...1) == 0 {
        operands.append(harness.input([Dimension(rows), Dimension(outputs)]))
      }
      let y = try harness.apply(
        Gemm(transposesB: isTransposed, activation: [.none, .relu][harness.random.int(0...1)]),
        operands)[0]
      try harness.output(y)
      let several = harness.input([.batch, 3, 5, Dimension(depth)])
      harness.mapped[several] = { Self.rounded($0) }
      try harness.output(
        try harness.apply(
          MatrixMultiply(), [several, try Self.parameter([depth, outputs], in: &harness)])[0])
    }
    #expect(try harness.schedules().allSatisfy { $0 is HalfProduct })
    if seed == 7 {
      try harness.checkSanitized(batch: 2)
    } else {
      try harness.check(batches: [2, 1])
    }
  }
}
