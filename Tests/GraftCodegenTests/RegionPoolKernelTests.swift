// Kernels of pools over regions on what onnxruntime was given, and on regions of every kind, against the reference
// evaluator.

import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftCodegen

@Suite struct RegionPoolKernelTests {
  private func batches(_ harness: inout KernelHarness, _ indices: [Int]) throws -> ValueID {
    harness.graph.addParameter(
      harness.graph.unusedName("batches"), TensorType(.int64, [Dimension(indices.count)]),
      Parameter(data: try TensorData(indices.map(Int64.init), shape: [indices.count])))
  }

  /// Regions inside, across the border, outside, turned round, and of no size.
  private static let boxes: [Float] = [
    0.3, 0.4, 3.2, 4.1, -2, -1.5, 2, 9, 40, 40, 50, 60, 3, 3, 1, 0, 2, 2, 2, 2,
  ]

  @Test func pools() throws {
    var harness = KernelHarness(seed: 31)
    let x = harness.input([2, 19, 6, 5])
    let regions = harness.input([5, 4], given: Self.boxes)
    let images = try batches(&harness, [0, 1, -1, 0, 1])
    for kind in [RegionPool.Kind.average, .largest] {
      for places in [0, 2] {
        for isHalfPixel in [false, true] {
          let pool = RegionPool(
            kind, bins: [2, 3], scale: 1.25, places: places, isHalfPixel: isHalfPixel)
          try harness.output(try harness.apply(pool, [x, regions, images])[0])
        }
      }
    }
    let indices: [Float] = [0, 1, -1, 0, 1]
    let numbered = harness.input(
      [5, 5],
      given: indices.enumerated().flatMap { [$1] + Self.boxes[(4 * $0)..<(4 * $0 + 4)] })
    try harness.output(
      try harness.apply(RegionPool(.pixels, bins: [3, 2], scale: 0.75), [x, numbered])[0])
    try harness.check(batches: [1])
  }

  @Test func gradients() throws {
    var harness = KernelHarness(seed: 32)
    let regions = harness.input([5, 4], given: Self.boxes)
    let images = try batches(&harness, [0, 1, -1, 0, 1])
    for places in [0, 3] {
      let pool = RegionPool(.average, bins: [2, 3], scale: 0.5, places: places)
      let dy = harness.input([5, 7, 2, 3])
      try harness.output(
        try harness.apply(
          RegionPoolGradient(pool: pool, images: 2, extents: [6, 5]), [dy, regions, images])[0])
    }
    try harness.check(batches: [1])
  }

  @Test func fixtures() throws {
    var harness = KernelHarness(seed: 33)
    for fixture in try OperatorFixture.all() {
      let (operation, operands) = try fixture.imported()
      guard operation is RegionPool else { continue }
      let values = try operands.compactMap(\.self).map { tensor in
        tensor.dtype.isFloatingPoint
          ? harness.input(tensor.shape, given: tensor.reals.map(Float.init))
          : try batches(&harness, tensor.integers)
      }
      try harness.output(try harness.apply(operation, values)[0])
    }
    try harness.check(batches: [1])
  }
}
