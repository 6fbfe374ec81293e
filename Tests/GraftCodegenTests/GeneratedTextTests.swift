// The C that is generated: the same every time, its inner loops in whole registers, and golden files of it.

import Foundation
import GraftCodegen
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@Suite struct GeneratedTextTests {
  @Test func textIsTheSameEveryTime() throws {
    let harness = try BundleTests.network(seed: 24, target: .x8664v3)
    let generator = CodeGenerator(target: .x8664v3)
    let plan = try KernelHarness.plan(harness.graph)
    let first = try generator.generate(graph: harness.graph, plan: plan)
    let second = try generator.generate(graph: harness.graph, plan: plan)
    #expect(first.sources == second.sources)
    #expect(first.buildID == second.buildID)
    let other = try generator.generate(
      graph: try BundleTests.network(seed: 25, target: .x8664v3).graph, plan: plan)
    #expect(other.buildID != first.buildID)
    for source in first.sources {
      #expect(!source.text.contains(FileManager.default.currentDirectoryPath))
    }
  }

  /// clang halves 64-byte vectors, and spills them, unless it is told to prefer them whole.
  @Test(
    arguments: zip(
      [Target.x8664v4, .x8664v4, .x8664v3], [ConvolutionAlgorithm.direct, .winograd4, .winograd4]))
  func kernelsKeepTheirTileInWholeRegisters(
    target: Target, algorithm: ConvolutionAlgorithm
  ) throws {
    var harness = KernelHarness(seed: 28, target: target, convolutions: algorithm)
    let x = try harness.image([64, 14, 14], border: (1, 1))
    let y = try harness.apply(
      Convolution(pads: [1, 1, 1, 1]), [x, try harness.parameter([128, 64, 3, 3])],
      layout: harness.blocked)[0]
    try harness.output(y)
    try expectWholeRegisters(harness, target: target, tile: target.lanes == 16 ? 24 : 12)
  }

  /// Likewise gradients of weights; the direct kernel and Winograd's.
  @Test(
    arguments: [Target.x8664v4, .x8664v3], [ConvolutionAlgorithm.direct, .winograd4])
  func gradientsKeepTheirTileInWholeRegisters(
    target: Target, algorithm: ConvolutionAlgorithm
  ) throws {
    var harness = KernelHarness(seed: 29, target: target, convolutions: algorithm)
    let x = try harness.image([64, 14, 14], border: (1, 1))
    let dy = try harness.image([128, 14, 14])
    let window = Window(kernel: [3, 3], pads: [1, 1, 1, 1])
    try harness.output(try harness.apply(ConvolutionWeightGradient(window: window), [x, dy])[0])
    try expectWholeRegisters(harness, target: target, tile: target.lanes == 16 ? 16 : 8)
  }

  /// Expects every loop of a convolution with at least `tile` products to do them in whole registers, and
  /// none of these to be in memory.
  private func expectWholeRegisters(
    _ harness: KernelHarness, target: Target, tile: Int
  ) throws {
    let folder = try KernelHarness.temporaryFolder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let model = try harness.generate()
    for source in model.sources {
      try source.text.write(toFile: folder + "/" + source.name, atomically: true, encoding: .utf8)
    }
    let assembly = folder + "/kernels.s"
    #expect(
      try BundleTests.run(
        Toolchain.find().clang,
        ["--target=x86_64-linux-gnu", "-std=c11", "-O2", "-S"] + model.target.kernelFlags + [
          folder + "/kernels_1.c", "-o", assembly,
        ]) != nil)
    let text = try String(contentsOfFile: assembly, encoding: .utf8)
    // The loops over a register tile are those with as many products as it has registers.
    let register = target.lanes == 16 ? "zmm" : "ymm"
    let kernels = text.components(separatedBy: "\t.globl\t").filter { $0.hasPrefix("conv_") }
    let blocks = kernels.joined().components(separatedBy: "\n.L").map { $0.split(separator: "\n") }
    let loops = blocks.filter { $0.count { $0.contains("vfmadd") } >= tile }
    #expect(!loops.isEmpty)
    for loop in loops {
      #expect(loop.allSatisfy { !$0.contains("vfmadd") || $0.contains(register) })
      #expect(!loop.contains { $0.contains(register) && $0.contains(/\(%r[sb]p/) })
    }
  }

  @Test func goldenConvolution() throws {
    var harness = KernelHarness(seed: 26, target: .x8664v3)
    let x = try harness.image([20, 9, 9], border: (1, 1))
    let y = try harness.apply(
      Convolution(pads: [1, 1, 1, 1], activation: .relu),
      [x, try harness.parameter([40, 20, 3, 3]), try harness.parameter([40])],
      layout: harness.blocked(border: (1, 1)))[0]
    try harness.output(y)
    var generator = CodeGenerator(target: .x8664v3, kernelFiles: 1)
    generator.convolutions = ConvolutionChoices(.direct)
    let model = try generator.generate(
      graph: harness.graph, plan: try KernelHarness.plan(harness.graph))
    for name in ["kernels_1.c", "model.c"] {
      let source = try #require(model.sources.first { $0.name == name })
      try expectGolden(source.text, "convolution_\(name).txt")
    }
  }

  /// The gradient of weights, and the packing of weights that are no constants.
  @Test func goldenGradient() throws {
    var harness = KernelHarness(seed: 27, target: .x8664v3)
    let x = try harness.image([20, 9, 9], border: (1, 1))
    let dy = try harness.image([40, 9, 9])
    let window = Window(kernel: [3, 3], pads: [1, 1, 1, 1])
    let dw = try harness.apply(ConvolutionWeightGradient(window: window), [x, dy])[0]
    try harness.output(dw)
    try harness.output(
      try harness.apply(Convolution(pads: [1, 1, 1, 1]), [x, dw], layout: harness.blocked)[0])
    var generator = CodeGenerator(target: .x8664v3, kernelFiles: 1)
    generator.convolutions = ConvolutionChoices(.direct)
    let model = try generator.generate(
      graph: harness.graph, plan: try KernelHarness.plan(harness.graph))
    let source = try #require(model.sources.first { $0.name == "kernels_1.c" })
    let kernels = source.text.components(separatedBy: "\n/* ").filter {
      $0.contains("void conv_gradient_") || $0.contains("void pack_direct_")
    }
    try expectGolden(
      kernels.map { "/* " + $0 }.joined(separator: "\n"), "gradient_kernels.c.txt")
  }
}
