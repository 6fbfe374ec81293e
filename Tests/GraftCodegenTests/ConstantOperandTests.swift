// Constants where kernels usually read computed values: as the first operand of a product, as the image of a
// convolution, as an output.

import GraftCodegen
import GraftIR
import GraftOps
import Testing

@Suite struct ConstantOperandTests {
  @Test func generalProducts() throws {
    var harness = KernelHarness(seed: 71)
    for transposesA in [false, true] {
      for transposesB in [false, true] {
        let a = try harness.parameter(transposesA ? [7, 19] : [19, 7])
        let b = harness.input(transposesB ? [21, 7] : [7, 21])
        let addends: [[Int]?] = [nil, [], [1], [21], [1, 21], [19, 1], [19, 21]]
        for shape in addends {
          let c = try shape.map { try harness.parameter($0) }
          let gemm = Gemm(
            alpha: 0.5, beta: 2, transposesA: transposesA, transposesB: transposesB)
          try harness.output(try harness.apply(gemm, [a, b, c])[0])
        }
      }
    }
    // The same value twice, computed and constant.
    let square = try harness.parameter([5, 5])
    let x = harness.input([5, 5])
    for transposesA in [false, true] {
      try harness.output(try harness.apply(Gemm(transposesA: transposesA), [x, x])[0])
      try harness.output(try harness.apply(Gemm(transposesA: transposesA), [square, square])[0])
    }
    let product = try harness.apply(Gemm(), [x, square])[0]
    try harness.output(try harness.apply(Gemm(), [square, product])[0])
    try harness.check(batches: [1], tolerance: 1e-5)
  }

  @Test func productsOfAnyRank() throws {
    var harness = KernelHarness(seed: 72)
    let shapes: [([Int], [Dimension])] = [
      ([4, 3], [3, 5]), ([3], [3, 5]), ([4, 3], [3]), ([3], [3]), ([4, 3], [.batch, 3, 5]),
      ([3], [.batch, 3, 5]), ([2, 4, 3], [2, 3, 5]), ([2, 4, 3], [3, 5]), ([2, 4, 3], [3]),
      ([2, 1, 4, 3], [6, 3, 5]),
    ]
    for (constant, computed) in shapes {
      let a = try harness.parameter(constant)
      try harness.output(try harness.apply(MatrixMultiply(), [a, harness.input(computed)])[0])
    }
    try harness.check(tolerance: 1e-5)
  }

  @Test func imagesOfConvolutions() throws {
    var harness = KernelHarness(seed: 73)
    for (channels, groups) in [(3, 1), (21, 1), (16, 16)] {
      let image = try harness.parameter([2, channels, 6, 5])
      let weights = harness.input([8 * groups, channels / groups, 3, 3].map { Dimension($0) })
      let operation = Convolution(groups: groups)
      try harness.output(try harness.apply(operation, [image, weights])[0])
      let blocked = try harness.convert(image, harness.blocked)
      try harness.output(
        try harness.apply(operation, [blocked, weights], layout: harness.blocked)[0])
    }
    let both = try harness.parameter([4, 3, 3, 3])
    try harness.output(try harness.apply(Convolution(), [both, both])[0])
    try harness.check(batches: [1], tolerance: 1e-5)
  }

  @Test func outputs() throws {
    var harness = KernelHarness(seed: 74)
    let x = harness.input([.batch, 5])
    let y = try harness.apply(Relu(), [x])[0]
    let constant = try harness.parameter([2, 3])
    for value in [y, constant, x, y, constant] { try harness.output(value) }
    try harness.check()
  }
}
