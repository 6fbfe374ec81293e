// Kernels on values whose free batch is not on the first axis, as in sequences [length, batch, features], and
// sums of rows by computed indices, against the reference evaluator at batches of 3, 1, 2 and 7.

import GraftCodegen
import GraftIR
import GraftOps
import Testing

@Suite struct InnerBatchTests {
  private func sequence(_ harness: inout KernelHarness) -> ValueID {
    harness.input([5, .batch, 4])
  }

  private func indices(
    _ harness: inout KernelHarness, _ numbers: [Int64]
  ) throws -> ValueID {
    harness.graph.addParameter(
      harness.graph.unusedName("indices"), TensorType(.int64, [Dimension(numbers.count)]),
      Parameter(data: try TensorData(numbers, shape: [numbers.count])))
  }

  /// Computed indices from −rows to rows − 1.
  private func computedIndices(
    _ harness: inout KernelHarness, _ shape: [Dimension], rows: Int32
  ) -> ValueID {
    let value = harness.graph.addInput(
      harness.graph.unusedName("ids"), TensorType(.int32, TensorShape(shape)))
    harness.mapped[value] = { number in
      Float(bitPattern: UInt32(bitPattern: Int32(number * Float(rows) * 0.999)))
    }
    return value
  }

  @Test func movement() throws {
    var harness = KernelHarness(seed: 71)
    let (x, matrix) = (sequence(&harness), harness.input([3, .batch]))
    var results: [ValueID] = []
    for permutation in [[1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
      results += try harness.apply(Transpose(permutation: permutation), [x])
    }
    results += try harness.apply(Transpose(permutation: [1, 0]), [matrix])
    let one = [1]
    for slice in [
      Slice(axes: [0], starts: one, extents: [3], steps: one),
      Slice(axes: [2], starts: [3], extents: [2], steps: [-2]),
      Slice(axes: [0, 2], starts: [4, 1], extents: [3, 2], steps: [-2, 2]),
    ] { results += try harness.apply(slice, [x]) }
    results += try harness.apply(Concatenate(axis: 0), [x, x])
    results += try harness.apply(Concatenate(axis: 2), [x, x])
    results += try harness.apply(Split(axis: 0, sizes: [2, 3]), [x])
    let chosen = try indices(&harness, [2, -1, 0])
    for axis in [0, 2] { results += try harness.apply(Gather(axis: axis), [x, chosen]) }
    results += try harness.apply(Expand(shape: [2, 5, .batch, 4]), [x])
    let flat = try harness.apply(Reshape(shape: [5, .batch(times: 4)]), [x])[0]
    results += try harness.apply(Transpose(permutation: [1, 0]), [flat])
    for mode in [Pad.Mode.constant, .edge, .reflect, .wrap] {
      results += try harness.apply(
        Pad(pads: [2, 0, 1, 3, 0, 2], mode: mode, value: .real(0.5)), [x])
      results += try harness.apply(Pad(pads: [1, 0, 1, 0], mode: mode), [matrix])
    }
    for result in results { try harness.output(result) }
    try harness.check(batches: [3, 1, 2, 7], tolerance: 0)
  }

  @Test func globalPoolsOfOtherRanks() throws {
    var harness = KernelHarness(seed: 77)
    for shape: [Dimension] in [[.batch, 5, 9], [.batch, 17, 3, 2, 4]] {
      let x = harness.input(shape)
      for operation in [GlobalAveragePool(), GlobalMaxPool()] as [any GraftOps.Operator] {
        try harness.output(try harness.apply(operation, [x])[0])
      }
    }
    try harness.check()
  }

  @Test func computedRows() throws {
    var harness = KernelHarness(seed: 72)
    let table = try harness.parameter([7, 4])
    let ids = computedIndices(&harness, [5, .batch], rows: 7)
    try harness.output(try harness.apply(Gather(axis: 0), [table, ids])[0])
    let few = computedIndices(&harness, [3], rows: 5)
    let x = sequence(&harness)
    try harness.output(try harness.apply(Gather(axis: 0), [x, few])[0])
    let features = computedIndices(&harness, [2], rows: 4)
    try harness.output(try harness.apply(Gather(axis: 2), [x, features])[0])
    let wide = try harness.parameter([3, 7, 2])
    try harness.output(try harness.apply(Gather(axis: 1), [wide, ids])[0])
    try harness.check(batches: [3, 1, 2, 7], tolerance: 0)
  }

  @Test func sumsOfRows() throws {
    var harness = KernelHarness(seed: 73)
    let ids = computedIndices(&harness, [.batch, 5], rows: 7)
    for width in [1, 4, 33, 200] {
      let gradient = harness.input([.batch, 5, Dimension(width)])
      try harness.output(
        try harness.apply(GatherGradient(axis: 0, extent: 7), [gradient, ids])[0])
    }
    let few = computedIndices(&harness, [6], rows: 3)
    let images = harness.input([.batch, 6, 2])
    try harness.output(
      try harness.apply(GatherGradient(axis: 1, extent: 3), [images, few])[0])
    let one = computedIndices(&harness, [], rows: 3)
    let row = harness.input([.batch, 4])
    try harness.output(
      try harness.apply(GatherGradient(axis: 1, extent: 3), [row, one])[0])
    try harness.check(batches: [3, 1, 2, 7])
  }

  @Test func elementwise() throws {
    var harness = KernelHarness(seed: 74)
    let x = sequence(&harness)
    let others = [
      sequence(&harness), harness.input([.batch, 1]), harness.input([5, 1, 1]),
      harness.input([5, .batch, 1]), harness.input([1, .batch, 4]), try harness.parameter([4]),
      try harness.parameter([5, 1, 4]), try harness.parameter([]),
    ]
    for other in others {
      for operation in [Add(activation: .relu), Multiply(activation: .none)]
        as [any GraftOps.Operator]
      {
        try harness.output(try harness.apply(operation, [x, other])[0])
        try harness.output(try harness.apply(operation, [other, x])[0])
      }
      let less = try harness.apply(Less(), [x, other])[0]
      try harness.output(try harness.apply(Where(), [less, x, other])[0])
    }
    let matrix = harness.input([37, .batch])
    try harness.output(try harness.apply(Tanh(), [matrix])[0])
    let column = harness.input([37, 1])
    try harness.output(try harness.apply(Subtract(activation: .none), [matrix, column])[0])
    let sum = harness.input([3, .batch(times: 2), 3])
    let rows = harness.input([.batch(times: 2), 1])
    try harness.output(try harness.apply(Add(activation: .none), [sum, rows])[0])
    try harness.check(batches: [3, 1, 2, 7], tolerance: 1e-6)
  }

  @Test func reductions() throws {
    var harness = KernelHarness(seed: 75)
    let (x, matrix) = (sequence(&harness), harness.input([5, .batch]))
    for axis in [0, 2] {
      for operation in [
        Softmax(axis: axis), LogSoftmax(axis: axis), ReduceMean(axes: [axis], keepsAxes: false),
        ReduceSum(axes: [axis], keepsAxes: true), ReduceMean(axes: [0, 2]), ReduceSum(axes: [1]),
        ReduceSum(axes: [0, 1]), ReduceSum(axes: [1, 2]),
      ] as [any GraftOps.Operator] {
        try harness.output(try harness.apply(operation, [x])[0])
      }
    }
    for operation in [Softmax(axis: 0), ReduceMean(axes: [0]), ReduceSum(axes: [1])]
      as [any GraftOps.Operator]
    { try harness.output(try harness.apply(operation, [matrix])[0]) }
    try harness.check(batches: [3, 1, 2, 7])
  }

  @Test func products() throws {
    var harness = KernelHarness(seed: 76)
    let x = sequence(&harness)
    try harness.output(
      try harness.apply(MatrixMultiply(), [x, try harness.parameter([4, 6])])[0])
    // Heads and batch before the matrices, as attention has them.
    let (keys, values) = (harness.input([2, .batch, 4, 3]), harness.input([2, .batch, 3, 5]))
    try harness.output(try harness.apply(MatrixMultiply(), [keys, values])[0])
    let heads = harness.input([.batch(times: 2), 3, 4])
    try harness.output(
      try harness.apply(MatrixMultiply(), [heads, harness.input([.batch(times: 2), 4, 3])])[0])
    // The batch as rows of several matrices, and as columns.
    try harness.output(
      try harness.apply(MatrixMultiply(), [x, try harness.parameter([5, 4, 2])])[0])
    let columns = harness.input([4, .batch])
    let left = try harness.parameter([3, 4])
    try harness.output(try harness.apply(MatrixMultiply(), [left, columns])[0])
    try harness.output(
      try harness.apply(MatrixMultiply(), [try harness.parameter([2, 3, 4]), columns])[0])
    try harness.output(try harness.apply(Gemm(alpha: 0.5), [left, columns])[0])
    try harness.output(
      try harness.apply(Gemm(transposesA: true), [columns, try harness.parameter([4, 6])])[0])
    try harness.check(batches: [3, 1, 2, 7])
  }
}
