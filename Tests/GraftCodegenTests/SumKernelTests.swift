// Kernels that sum over a batch, against the reference evaluator: statistics, gradients of normalizations, and outer
// products.

import GraftIR
import GraftOps
import Testing

@testable import GraftCodegen

@Suite struct SumKernelTests {
  /// Statistics far from zero, where the sum of squares less the square of the sum has no digits left.
  @Test func batchStatistics() throws {
    var harness = KernelHarness(seed: 34)
    for channels in [3, 16, 21, 130] {
      let image = try harness.image([channels, 6, 5], border: (1, 0))
      let plain = harness.input([.batch, Dimension(channels), 3, 3])
      let rows = harness.input([.batch, Dimension(channels)])
      for x in [image, plain, rows] {
        for result in try harness.apply(BatchStatistics(), [x]) { try harness.output(result) }
        let rank = harness.graph.type(of: x).rank
        try harness.output(
          try harness.apply(ReduceSum(axes: [0] + Array(2..<rank)), [x])[0])
      }
    }
    try harness.check(tolerance: 2e-6, range: 60...61)
  }

  @Test func normalizationGradients() throws {
    var harness = KernelHarness(seed: 35)
    for channels in [5, 16, 21] {
      let vectors = (0..<5).map { index in
        let vector = harness.input([Dimension(channels)])
        // A variance is positive.
        if index == 2 { harness.mapped[vector] = { $0 * $0 + 0.1 } }
        return vector
      }
      let (scale, mean, variance) = (vectors[0], vectors[1], vectors[2])
      for kind in 0..<3 {
        let images = try (0..<2).map { _ in
          switch kind {
          case 0: try harness.image([channels, 4, 5], border: (1, 0))
          case 1: harness.input([.batch, Dimension(channels), 3, 7])
          default: harness.input([.batch, Dimension(channels)])
          }
        }
        let layout: Layout = kind == 0 ? harness.blocked(border: (0, 1)) : .plain
        for result in try harness.apply(
          BatchNormalizationParameterGradient(epsilon: 1e-3), images + [mean, variance])
        { try harness.output(result) }
        try harness.output(
          try harness.apply(
            BatchNormalizationInputGradient(epsilon: 1e-3),
            images + [scale, mean, variance, vectors[3], vectors[4]], layout: layout)[0])
      }
    }
    try harness.check()
  }

  @Test func outerProducts() throws {
    var harness = KernelHarness(seed: 39)
    for (rows, columns) in [(1, 1), (10, 64), (7, 33), (100, 515), (17, 1040)] {
      let a = harness.input([.batch, Dimension(rows)])
      let b = harness.input([.batch, Dimension(columns)])
      try harness.output(try harness.apply(BatchOuterProduct(), [a, b])[0])
    }
    // More rows than are summed at a time.
    for (rows, columns) in [(3, 70), (200, 300)] {
      let a = harness.input([.batch(times: 10), Dimension(rows)])
      let b = harness.input([.batch(times: 10), Dimension(columns)])
      try harness.output(try harness.apply(BatchOuterProduct(), [a, b])[0])
    }
    try harness.check(batches: [37, 1, 2])
  }

  @Test func layerNormalizationParameters() throws {
    var harness = KernelHarness(seed: 44)
    for (shape, axis) in [([.batch, 7, 33], 2), ([.batch, 50, 64], 2), ([.batch, 3, 5, 4], 2)]
      as [([Dimension], Int)]
    {
      let rows = TensorShape(Array(shape[..<axis]) + shape[axis...].map { _ in 1 })
      let operands = [TensorShape(shape), TensorShape(shape), rows, rows]
        .map { harness.input($0.dimensions) }
      for value in try harness.apply(LayerNormalizationParameterGradient(axis: axis), operands) {
        try harness.output(value)
      }
    }
    try harness.check(batches: [37, 1, 2])
  }
}
