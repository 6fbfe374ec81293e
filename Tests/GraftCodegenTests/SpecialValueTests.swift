// Kernels at the ends of their functions: limits that cross, numbers that are none, infinities; and the error
// of functions that kernels compute themselves, over the whole range of float32.

import Foundation
import GraftCodegen
import GraftIR
import GraftOps
import GraftRuntime
import Testing

@Suite struct SpecialValueTests {
  private static let specials: [Float] = [
    .nan, .infinity, -.infinity, 0, -0.0, 1, -1, 3, -2, 2.5, 1e30, -1e30,
  ]

  /// y = min(max(x, low), high) also where low > high; a NaN stays one.
  @Test(arguments: Target.tested) func clip(target: Target) throws {
    var harness = KernelHarness(seed: 61, target: target)
    let limits: [(Double, Double)] = [
      (3, -2), (-2, 3), (1, 1), (.infinity, 2), (-3, -.infinity), (-.infinity, 0.5),
    ]
    for (low, high) in limits {
      let plain = harness.input([Self.specials.count], given: Self.specials)
      try harness.output(try harness.apply(Clip(low: low, high: high), [plain])[0])
      let image = try harness.image([7, 3, 4], border: (1, 1))
      let weights = try harness.parameter([9, 7, 3, 3])
      try harness.output(
        try harness.apply(Clip(low: low, high: high), [image], layout: harness.blocked)[0])
      let fused = Convolution(
        pads: [1, 1, 1, 1], activation: .clip(low: low / 2, high: high / 2))
      try harness.output(
        try harness.apply(fused, [image, weights], layout: harness.blocked)[0])
    }
    try harness.check(tolerance: 1e-5, range: -4...4)
  }

  /// No gradient passes where every element is the upper limit.
  @Test func gradientOfCrossedLimits() throws {
    var harness = KernelHarness(seed: 62)
    let clip = Clip(low: 3, high: -2)
    let (dy, x) = (harness.input([.batch, 37]), harness.input([.batch, 37]))
    let y = try harness.apply(clip, [x])[0]
    let gradient = ActivationGradient(activation: .clip(low: 3, high: -2))
    try harness.output(try harness.apply(gradient, [dy, y])[0])
    #expect(Activation.clip(low: 3, high: -2).derivative(-2.0) == 0)
    try harness.check(range: -4...4)
  }

  /// Functions of a NaN are NaN, as in onnxruntime and PyTorch; so is the largest of several.
  @Test(arguments: Target.tested) func nan(target: Target) throws {
    var harness = KernelHarness(seed: 63, target: target)
    let unary: [any GraftOps.Operator] = [
      Relu(), LeakyRelu(alpha: 0.2), Sigmoid(), Tanh(), HardSigmoid(alpha: 0.2, beta: 0.5), Silu(),
      Exponential(), AbsoluteValue(), Negate(), ErrorFunction(), Power(exponent: 3),
    ]
    for operation in unary {
      let x = harness.input([12], given: [.nan, 1, -1, 0.5, .nan, 2, 0, -0.25, 3, .nan, 4, -2])
      try harness.output(try harness.apply(operation, [x])[0])
    }
    let other = harness.input([12], given: [1, .nan, 0, 3, 2, 1, .nan, 4, 0, -1, 5, 2])
    let x = harness.input([12], given: [.nan, 1, -1, 0.5, .nan, 2, 0, -0.25, 3, .nan, 4, -2])
    for operation in [Maximum(), Minimum()] as [any GraftOps.Operator] {
      try harness.output(try harness.apply(operation, [x, other])[0])
    }
    for isPlain in [false, true] {
      var numbers = (0..<(3 * 4 * 6)).map { Float($0 % 7) - 3 }
      for index in [0, 5, 31, 70] { numbers[index] = .nan }
      let plain = harness.input([1, 3, 4, 6], given: numbers)
      let image = isPlain ? plain : try harness.convert(plain, harness.blocked)
      let layout = isPlain ? Layout.plain : harness.blocked
      let pools: [any GraftOps.Operator] = [
        MaxPool(window: Window(kernel: [2, 2], strides: [2, 2])), GlobalMaxPool(),
      ]
      for pool in pools {
        try harness.output(try harness.apply(pool, [image], layout: layout)[0])
      }
    }
    try harness.check(batches: [1], tolerance: 1e-5)
  }

  // MARK: Accuracy

  /// Every sign and exponent of float32 with several fractions each, and what is special.
  private static let everywhere: [Float] =
    specials
    + (UInt32(0)..<(1 << 16)).map { Float(bitPattern: $0 << 16 | (($0 &* 40_503) & 0xFFFF)) }
    .filter { $0.isNormal }

  /// The largest error of each operation, in units of the last place of the exact result.
  private func largestErrors(
    _ operations: [any GraftOps.Operator], _ numbers: [Float], target: Target,
    exact: [(Double) -> Double]
  ) throws -> [Double] {
    var harness = KernelHarness(seed: 64, target: target)
    let x = harness.input([numbers.count], given: numbers)
    for operation in operations { try harness.output(try harness.apply(operation, [x])[0]) }
    let folder = try KernelHarness.build(harness.graph, target: target)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let model = try LoadedModel(
      library: ModelLibrary(path: folder + "/libmodel.so"), bundle: folder)
    return zip(try model.run(batch: 1, inputs: [numbers]), exact).map { found, exact in
      zip(numbers, found).map { Self.error(of: $1, at: $0, exact(Double($0))) }.max() ?? 0
    }
  }

  private static func error(of value: Float, at number: Float, _ exact: Double) -> Double {
    let rounded = Float(exact)
    // Kernels flush subnormal numbers.
    if rounded.magnitude < .leastNormalMagnitude, value.magnitude <= .leastNormalMagnitude {
      return 0
    }
    guard rounded.isFinite else {
      return value == rounded || (value.isNaN && rounded.isNaN) ? 0 : .infinity
    }
    return abs(Double(value) - exact) / Double(rounded.ulp)
  }

  /// Near 1, where erf bends, more of them.
  @Test(arguments: Target.tested) func errorFunction(target: Target) throws {
    let bend = (UInt32(0x3F00_0000)..<0x4080_0000).filter { $0 % 997 == 0 }.map {
      Float(bitPattern: $0)
    }
    let errors = try largestErrors(
      [ErrorFunction()], Self.everywhere + bend + bend.map(-), target: target, exact: [erf])
    #expect(errors[0] <= 2)
  }

  @Test(arguments: Target.tested) func powers(target: Target) throws {
    let exponents = [-3.5, -1, -0.25, 0, 0.3, 0.75, 1.0 / 3, 3, 5, 17.25, 1e-20, 101].map {
      Double(Float($0))
    }
    let near = (0..<4096).map { Float(0.5 + Double($0) / 2731) }
    let errors = try largestErrors(
      exponents.map { Power(exponent: $0) }, Self.everywhere + near, target: target,
      exact: exponents.map { exponent in { pow($0, exponent) } })
    for (exponent, error) in zip(exponents, errors) { #expect(error <= 0.502, "x^\(exponent)") }
  }

  @Test func infinitePowers() throws {
    var harness = KernelHarness(seed: 65)
    for exponent in [Double.infinity, -.infinity] {
      let x = harness.input([5], given: [0.5, 1, 2, 1.0001, 0.9999])
      try harness.output(try harness.apply(Power(exponent: exponent), [x])[0])
    }
    try harness.check(batches: [1])
  }
}
