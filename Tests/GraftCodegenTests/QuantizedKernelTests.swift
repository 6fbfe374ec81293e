// Kernels on bytes against the reference evaluator's integers, to the bit, on every target that this machine has.

import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftCodegen

struct QuantizedKernelTests {
  /// The names of the targets that this machine has; every machine has the last.
  static let targets =
    ([Target.x8664v4amx, .x8664v4bf16, .x8664v4vnni].filter(\.isRunnable) + Target.tested)
    .map(\.name)

  private struct Case {
    var channels: Int
    var height: Int
    var width: Int
    var outputs: Int
    var kernel: [Int]
    var strides = [1, 1]
    var pads = [0, 0, 0, 0]
    var dilations = [1, 1]
    var isDepthwise = false
    var residual: DataType?
    var activation = Activation.none
    /// The zero point of the result; nil for float32.
    var zero: Int? = 0
    var rate = 1.0
    var xZero = 0
    var isExact = true
  }

  // MARK: Building

  private static func integers(
    _ shape: [Int], _ range: ClosedRange<Int>, _ dtype: DataType, in harness: inout KernelHarness
  ) throws -> ValueID {
    let elements = (0..<shape.reduce(1, *)).map { _ in harness.random.int(range) }
    return harness.graph.addParameter(
      harness.graph.unusedName("q"), TensorType(dtype, TensorShape(shape)),
      Parameter(data: try TensorData(packing: elements, as: dtype, shape: shape)))
  }

  /// An image of random bytes.
  private static func bytes(
    _ shape: [Int], border: (Int, Int) = (0, 0), zero: Int, isFew: Bool = false,
    in harness: inout KernelHarness
  ) throws -> ValueID {
    let plain = harness.input([.batch] + shape.map { Dimension($0) })
    return try harness.apply(
      Quantize(to: Quantization(scale: 2.0 / 255, zero: zero)), [plain],
      layout: Layout(
        channelBlock: isFew ? Layout.fewChannels : harness.target.lanes, borderHeight: border.0,
        borderWidth: border.1, borderValue: zero))[0]
  }

  /// The bytes themselves as an output, or the numbers of a float32 result.
  private static func output(_ value: ValueID, of harness: inout KernelHarness) throws {
    guard harness.graph.type(of: value).dtype == .uint8 else { return try harness.output(value) }
    let numbers = try harness.apply(
      Dequantize(from: Quantization(scale: 1, zero: 0)), [value], layout: .plain)[0]
    try harness.output(numbers)
  }

  private static func add(_ test: Case, to harness: inout KernelHarness) throws {
    let groups = test.isDepthwise ? test.channels : 1
    let convolution = Convolution(
      strides: test.strides, pads: test.pads, dilations: test.dilations, groups: groups)
    let border = (max(test.pads[0], test.pads[2]), max(test.pads[1], test.pads[3]))
    let x = try bytes(
      [test.channels, test.height, test.width], border: border, zero: test.xZero,
      isFew: test.channels <= Layout.fewChannels && !test.isDepthwise, in: &harness)
    let perGroup = test.channels / groups
    let depth = perGroup * test.kernel[0] * test.kernel[1]
    // Sums of this size fill the range of bytes.
    let size = Float(40 / (Double(depth).squareRoot() * 74 * 74)) / Float(test.rate)
    let multipliers = (0..<test.outputs).map { _ in harness.random.float(0.5...1.5) * size }
    var operands: [ValueID?] = [
      x, try integers([test.outputs, perGroup] + test.kernel, -127...127, .int8, in: &harness),
      try integers([test.outputs], -20000...20000, .int32, in: &harness),
      harness.graph.addParameter(
        harness.graph.unusedName("m"), TensorType(.float32, [Dimension(test.outputs)]),
        Parameter(data: try TensorData(multipliers, shape: [test.outputs]))),
    ]
    var requantization = Requantization(
      activation: test.activation, rate: test.rate, zero: test.zero)
    let probe = try convolution.inferTypes([
      TensorType(.float32, harness.graph.type(of: x).shape),
      TensorType(.float32, harness.graph.type(of: try #require(operands[1])).shape),
    ])[0].shape
    let resultShape = try probe.dimensions.dropFirst().map { try #require($0.constant) }
    switch test.residual {
    case .uint8:
      requantization.residualMultiplier = 0.25
      requantization.residualZero = 31
      operands.append(try bytes(resultShape, border: (1, 0), zero: 31, in: &harness))
    case .float32: operands.append(try harness.image(resultShape))
    default: break
    }
    let y = try harness.apply(
      QuantizedConvolution(convolution, xZero: test.xZero, requantization), operands,
      layout: Layout(
        channelBlock: harness.target.lanes, borderHeight: harness.random.int(0...2),
        borderWidth: harness.random.int(0...2), borderValue: test.zero ?? 0))[0]
    try output(y, of: &harness)
  }

  // MARK: Convolutions

  /// Any kernel, stride, padding, dilation and epilogue, whole and depthwise, over images from one pixel on.
  private static func addRandom(_ count: Int, to harness: inout KernelHarness) throws {
    for _ in 0..<count {
      let isDepthwise = harness.random.int(0...2) == 0
      let kernel = [harness.random.int(1...5), harness.random.int(1...7)]
      let dilations =
        isDepthwise ? [1, 1] : [harness.random.int(1...2), harness.random.int(1...2)]
      let pads = (0..<4).map { _ in harness.random.int(0...3) }
      let channels = harness.random.int(1...40)
      let reach = (0..<2).map { (kernel[$0] - 1) * dilations[$0] + 1 }
      let zero = harness.random.int(0...3) == 0 ? nil : harness.random.int(0...255)
      try add(
        Case(
          channels: channels,
          height: max(1, reach[0] - pads[0] - pads[2]) + harness.random.int(0...9),
          width: max(1, reach[1] - pads[1] - pads[3]) + harness.random.int(0...19),
          outputs: isDepthwise ? channels : harness.random.int(1...90), kernel: kernel,
          strides: [harness.random.int(1...3), harness.random.int(1...3)], pads: pads,
          dilations: dilations, isDepthwise: isDepthwise && channels > 1,
          residual: [nil, .uint8, .float32][harness.random.int(0...2)],
          activation: [.none, .relu, .clip(low: -3, high: 90.4), .leakyRelu(alpha: 0.25)][
            harness.random.int(0...3)],
          zero: zero, rate: zero == nil ? 1 : [1.0, 3.7][harness.random.int(0...1)],
          xZero: harness.random.int(0...255)),
        to: &harness)
    }
  }

  @Test(arguments: [1, 2, 3], targets) func convolutions(seed: UInt64, target: String) throws {
    let target = try Target(named: target)
    var harness = KernelHarness(seed: seed, target: target)
    try Self.addRandom(14, to: &harness)
    try harness.check(tolerance: 0)
  }

  @Test(arguments: [4, 5], targets)
  func convolutionsUnderSanitizers(seed: UInt64, target: String) throws {
    let target = try Target(named: target)
    var harness = KernelHarness(seed: seed, target: target)
    try Self.addRandom(14, to: &harness)
    try harness.checkSanitized(tolerance: 0)
  }

  /// Sums as large as they can be: AVX2 has no instruction for bytes that does not saturate.
  @Test(arguments: targets) func largestSums(target: String) throws {
    let target = try Target(named: target)
    var harness = KernelHarness(seed: 6, target: target)
    let x = harness.input([1, 64, 3, 4].map { Dimension($0) })
    harness.given[x] = Array(repeating: 255, count: 64 * 12)
    let bytes = try harness.apply(
      Quantize(to: Quantization(scale: 1, zero: 0)), [x], layout: harness.blocked)[0]
    for weight in [-127, 127] {
      let data = Array(repeating: weight, count: 20 * 64)
      let w = harness.graph.addParameter(
        "w\(weight)", TensorType(.int8, [20, 64, 1, 1]),
        Parameter(data: try TensorData(packing: data, as: .int8, shape: [20, 64, 1, 1])))
      let bias = try Self.integers([20], 0...0, .int32, in: &harness)
      let one = harness.graph.addParameter(
        "one\(weight)", TensorType(.float32, [20]),
        Parameter(data: try TensorData(Array(repeating: Float(1), count: 20), shape: [20])))
      let y = try harness.apply(
        QuantizedConvolution(Convolution(), xZero: 0, Requantization()), [bytes, w, bias, one],
        layout: harness.blocked)[0]
      try harness.output(y)
    }
    try harness.check(batches: [1], tolerance: 0)
  }

  /// Winograd's algorithm with products of bfloat16, where the target has them: its sums are near those of integers.
  @Test(arguments: [13, 14]) func transformedConvolutions(seed: UInt64) throws {
    guard Target.x8664v4bf16.isRunnable else { return }
    var harness = KernelHarness(
      seed: seed, target: .x8664v4bf16, convolutions: seed == 13 ? .winograd4 : .winograd2)
    for _ in 0..<8 {
      let pads = (0..<4).map { _ in harness.random.int(0...2) }
      try Self.add(
        Case(
          channels: harness.random.int(5...70), height: harness.random.int(3...19),
          width: harness.random.int(3...19), outputs: harness.random.int(1...90), kernel: [3, 3],
          pads: pads, residual: [nil, .uint8, .float32][harness.random.int(0...2)],
          activation: [.none, .relu, .hardSwish][harness.random.int(0...2)],
          zero: harness.random.int(0...255), xZero: harness.random.int(0...255), isExact: false),
        to: &harness)
    }
    let kinds = try harness.schedules().filter { $0 is QuantizedWinograd }
    #expect(kinds.count == 8)
    // Steps of 255; bfloat16 has 8 bits, and the transform of larger tiles costs two of them.
    try harness.check(tolerance: 6.0 / 255)
  }

  /// Products of tiles, where the target has them: gathered and not, rows and all pixels as one, strips of lines.
  @Test(arguments: [15, 16]) func convolutionsByTiles(seed: UInt64) throws {
    guard Target.x8664v4amx.isRunnable else { return }
    var harness = KernelHarness(seed: seed, target: .x8664v4amx, convolutions: .matrixTiles)
    let cases = TileCase.all
    for test in cases {
      try Self.add(
        Case(
          channels: test.channels, height: test.side[0], width: test.side[1], outputs: test.outputs,
          kernel: test.kernel, strides: test.strides, pads: test.pads, dilations: test.dilations,
          residual: [nil, .uint8, .float32][harness.random.int(0...2)],
          activation: [.none, .relu, .clip(low: -3, high: 90.4), .leakyRelu(alpha: 0.25)][
            harness.random.int(0...3)],
          zero: harness.random.int(0...3) == 0 ? nil : harness.random.int(0...255),
          xZero: harness.random.int(0...255)),
        to: &harness)
    }
    #expect(try harness.schedules().filter { $0 is QuantizedTiles }.count == cases.count)
    try harness.check(batches: [2], tolerance: 0)
  }

  /// Pixels of four bytes are not gathered: windows of one pixel with a stride, or from an image with a border.
  @Test func pixelsOfFewBytes() throws {
    guard Target.x8664v4amx.isRunnable else { return }
    var harness = KernelHarness(seed: 17, target: .x8664v4amx, convolutions: .matrixTiles)
    for (strides, kernel, pads) in [
      ([2, 2], [1, 1], [0, 0, 0, 0]), ([1, 1], [1, 1], [0, 0, 0, 0]),
      ([1, 1], [1, 1], [1, 1, 1, 1]), ([2, 1], [3, 3], [1, 1, 1, 1]),
    ] {
      try Self.add(
        Case(
          channels: 3, height: 21, width: 30, outputs: 40, kernel: kernel, strides: strides,
          pads: pads, zero: 7, xZero: 100),
        to: &harness)
    }
    try harness.check(batches: [2], tolerance: 0)
  }

  // MARK: Products

  @Test(arguments: [7, 8], targets) func products(seed: UInt64, target: String) throws {
    let target = try Target(named: target)
    var harness = KernelHarness(seed: seed, target: target)
    for _ in 0..<6 {
      let (depth, outputs) = (4 * harness.random.int(1...50), harness.random.int(1...150))
      let (zero, residual) = (harness.random.int(0...255), harness.random.int(0...2))
      let x = harness.input([.batch, Dimension(depth)])
      let bytes = try harness.apply(
        Quantize(to: Quantization(scale: 2.0 / 255, zero: zero)), [x])[0]
      let size = Float(40 / (Double(depth).squareRoot() * 74 * 74))
      let multipliers = (0..<outputs).map { _ in harness.random.float(0.5...1.5) * size }
      var operands: [ValueID?] = [
        bytes, try Self.integers([outputs, depth], -127...127, .int8, in: &harness),
        try Self.integers([outputs], -20000...20000, .int32, in: &harness),
        harness.graph.addParameter(
          harness.graph.unusedName("m"), TensorType(.float32, [Dimension(outputs)]),
          Parameter(data: try TensorData(multipliers, shape: [outputs]))),
      ]
      var requantization = Requantization(
        activation: [.none, .relu][harness.random.int(0...1)],
        zero: harness.random.int(0...1) == 0 ? nil : harness.random.int(0...255))
      if residual > 0 {
        let plain = harness.input([.batch, Dimension(outputs)])
        if residual == 1 {
          requantization.residualMultiplier = 0.25
          requantization.residualZero = 31
          operands.append(
            try harness.apply(
              Quantize(to: Quantization(scale: 2.0 / 255, zero: 31)), [plain])[0])
        } else {
          operands.append(plain)
        }
      }
      let y = try harness.apply(QuantizedGemm(xZero: zero, requantization), operands)[0]
      try Self.output(y, of: &harness)
    }
    try harness.check(batches: [9, 1, 2], tolerance: 0)
  }

  // MARK: Between sums

  /// Elementwise functions and pools that read and write bytes, float32 or both.
  @Test(arguments: [9, 10], targets) func elementwise(seed: UInt64, target: String) throws {
    let target = try Target(named: target)
    var harness = KernelHarness(seed: seed, target: target)
    let from = Quantization(scale: 2.0 / 255, zero: 97)
    for channels in [1, 16, 37] {
      let shape = [channels, 9, 7]
      let a = try Self.bytes(shape, zero: 97, in: &harness)
      let b = try Self.bytes(shape, border: (1, 2), zero: 97, in: &harness)
      let real = try harness.image(shape)
      let scale = try harness.image([channels, 1, 1])
      let window = Window(kernel: [3, 2], strides: [2, 2], pads: [1, 0, 1, 1])
      let operations: [(any GraftOps.Operator, [ValueID], [Quantization?])] = [
        (Add(activation: .relu), [a, b], [from, from]),
        (Add(activation: .none), [a, real], [from, nil]),
        (Multiply(activation: .none), [a, scale], [from, nil]),
        (MaxPool(window: window), [a], [from]), (GlobalMaxPool(), [b], [from]),
        (MaxPool(window: window), [real], [nil]), (GlobalMaxPool(), [real], [nil]),
      ]
      for (operation, operands, sources) in operations {
        for result in [nil, from, Quantization(scale: 0.0137, zero: 50)] {
          let y = try harness.apply(
            Quantized(operation, sources: sources, result: result), operands.map { $0 },
            layout: Layout(
              channelBlock: harness.target.lanes, borderHeight: 1, borderWidth: 2,
              borderValue: result?.zero ?? 0))[0]
          try Self.output(y, of: &harness)
        }
      }
    }
    try harness.check(tolerance: 0)
  }

  /// Means and curved functions, whose float32 numbers may differ in the last bit, and so a byte by one.
  @Test(arguments: targets) func roundedFunctions(target: String) throws {
    let target = try Target(named: target)
    var harness = KernelHarness(seed: 11, target: target)
    let from = Quantization(scale: 2.0 / 255, zero: 97)
    let to = Quantization(scale: 0.0137, zero: 50)
    let shape = [21, 9, 7]
    let a = try Self.bytes(shape, zero: 97, in: &harness)
    let scale = try harness.parameter([21])
    let shift = try harness.parameter([21])
    let window = Window(kernel: [3, 2], strides: [2, 2], pads: [1, 0, 1, 1])
    let operations: [(any GraftOps.Operator, [ValueID])] = [
      (AveragePool(window: window, countIncludePad: true), [a]),
      (AveragePool(window: window, countIncludePad: false), [a]), (GlobalAveragePool(), [a]),
      (Silu(), [a]), (HardSwish(), [a]), (ScaleShift(activation: .relu), [a, scale, shift]),
    ]
    for (operation, operands) in operations {
      for result in [nil, to] {
        let y = try harness.apply(
          Quantized(
            operation, sources: [from] + operands.dropFirst().map { _ in nil }, result: result),
          operands.map { $0 },
          layout: Layout(
            channelBlock: harness.target.lanes, borderHeight: 1, borderWidth: 2,
            borderValue: result?.zero ?? 0))[0]
        try Self.output(y, of: &harness)
      }
    }
    // One step of 255.
    try harness.check(tolerance: 1.01 / 255)
  }

  /// Bytes that only move: joined, split, shuffled and in other layouts.
  @Test(arguments: targets) func movements(target: String) throws {
    let target = try Target(named: target)
    var harness = KernelHarness(seed: 12, target: target)
    let a = try Self.bytes([24, 5, 7], zero: 9, in: &harness)
    let b = try Self.bytes([40, 5, 7], border: (2, 1), zero: 9, in: &harness)
    let layout = Layout(
      channelBlock: target.lanes, borderHeight: 1, borderWidth: 1, borderValue: 9)
    let joined = try harness.apply(Concatenate(axis: 1), [a, b], layout: layout)[0]
    let shuffled = try harness.apply(ChannelShuffle(groups: 4), [joined], layout: layout)[0]
    for part in try harness.apply(Split(axis: 1, sizes: [16, 48]), [shuffled], layout: layout) {
      try Self.output(part, of: &harness)
    }
    let plain = try harness.convert(joined, .plain)
    try Self.output(try harness.convert(plain, layout), of: &harness)
    try harness.check(tolerance: 0)
  }
}
