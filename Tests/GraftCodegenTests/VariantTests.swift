// Variants of convolutions: every one computes the same, whatever was asked for; and which there are.

import GraftCodegen
import GraftIR
import GraftOps
import Testing

@testable import GraftCodegen

@Suite struct VariantTests {
  static let cases: [ConvolutionKernelTests.Case] = [
    .init(
      channels: 40, height: 13, width: 9, outputs: 72, kernel: [3, 3], pads: [1, 1, 1, 1],
      hasResidual: true, activation: .relu, resultBorder: (1, 1)),
    .init(channels: 24, height: 31, width: 30, outputs: 40, kernel: [1, 1]),
    .init(
      channels: 17, height: 12, width: 11, outputs: 56, kernel: [3, 3], strides: [2, 2],
      pads: [1, 1, 1, 1], activation: .relu),
    .init(
      channels: 3, height: 29, width: 29, outputs: 32, kernel: [7, 7], strides: [2, 2],
      pads: [3, 3, 3, 3], isPlanar: true),
    .init(
      channels: 48, height: 9, width: 9, outputs: 48, kernel: [3, 3], pads: [1, 1, 1, 1],
      groups: 3),
  ]

  private func harness(
    _ target: Target, _ variants: [ConvolutionSite: ConvolutionVariant] = [:]
  ) throws -> KernelHarness {
    var harness = KernelHarness(seed: 41, target: target)
    harness.convolutions.variants = variants
    for test in Self.cases { try ConvolutionKernelTests.add(test, to: &harness) }
    return harness
  }

  /// Every candidate that any convolution has, one for each convolution at a time.
  @Test(arguments: [Target.native, .generic]) func allAgree(target: Target) throws {
    let candidates = try harness(target).candidates()
    #expect(candidates.count == Self.cases.count)
    let most = candidates.values.map(\.count).max() ?? 0
    #expect(most > 8)
    for round in 1..<most where round < 6 || round.isMultiple(of: 4) {
      let chosen = candidates.compactMapValues { round < $0.count ? $0[round] : nil }
      var harness = try harness(target, chosen)
      try harness.check(batches: [2], tolerance: 4e-6)
    }
  }

  @Test func candidatesDiffer() throws {
    for (site, variants) in try harness(.x8664v3).candidates() {
      #expect(Set(variants).count == variants.count)
      if site.description.contains("planar") || site.description.contains("kernel 1x1") {
        #expect(variants.allSatisfy { $0.algorithm == .direct }, "\(site)")
      }
    }
    var compact = try harness(.x8664v3)
    compact.convolutions.algorithm = .direct
    #expect(
      try compact.candidates().values.joined().allSatisfy { $0.algorithm == .direct })
  }

  /// A variant may come from a file: what cannot be is as the cost model has it.
  @Test func impossibleVariants() throws {
    let untuned = try harness(.native).generate()
    let candidates = try harness(.native).candidates()
    for tile in [-1, 0, 1, 1_000_000, .max, .min] {
      for algorithm in ConvolutionAlgorithm.allCases {
        let asked = ConvolutionVariant(
          algorithm, split: .outputs, tileBlocks: tile, blocking: .double)
        let model = try harness(.native, candidates.mapValues { _ in asked }).generate()
        #expect(model.programs[0].steps.count == untuned.programs[0].steps.count)
        #expect(model.programs[0].scratchBytesPerThread < 8 << 20)
      }
    }
    var odd = try harness(
      .native, candidates.mapValues { _ in ConvolutionVariant(.winograd4, tileBlocks: 77) })
    try odd.check(batches: [1], tolerance: 4e-6)
  }
}
