// Attention and its gradient against the reference evaluator in double precision: parts of vectors, tiles and blocks,
// biases that broadcast, views, and a batch that is any of the leading axes.

import GraftCodegen
import GraftIR
import GraftOps
import Testing

@Suite struct AttentionKernelTests {
  /// Queries, keys, size and width.
  private static let extents = [
    [1, 1, 1, 1], [5, 3, 4, 4], [49, 49, 32, 32], [17, 33, 5, 9], [70, 130, 16, 64],
    [197, 197, 64, 64],
    [33, 300, 20, 70],
  ]

  private struct Inputs {
    let q, k, v, bias: ValueID
  }

  /// Two heads of each item of the batch, and a bias for all items.
  private func inputs(_ extents: [Int], _ harness: inout KernelHarness) throws -> Inputs {
    let sizes = extents.map { Dimension($0) }
    let heads: [Dimension] = [.batch, 2]
    return Inputs(
      q: harness.input(heads + [sizes[0], sizes[2]]),
      k: harness.input(heads + [sizes[1], sizes[2]]),
      v: harness.input(heads + [sizes[1], sizes[3]]),
      bias: try harness.parameter([2, extents[1], extents[0]]))
  }

  @Test(arguments: [Target.native, .generic]) func forward(target: Target) throws {
    var harness = KernelHarness(seed: 91, target: target)
    for extents in Self.extents {
      let given = try inputs(extents, &harness)
      let (q, k, v, bias) = (given.q, given.k, given.v, given.bias)
      let attention = Attention(scale: 0.5)
      for result in try harness.apply(attention, [q, k, v]) { try harness.output(result) }
      let mask = harness.input([.batch, 1, Dimension(extents[1]), Dimension(extents[0])])
      try harness.output(try harness.apply(attention, [q, k, v, bias])[0])
      try harness.output(try harness.apply(attention, [q, k, v, nil, mask])[0])
      for result in try harness.apply(attention, [q, k, v, bias, mask]) {
        try harness.output(result)
      }
    }
    try harness.check(batches: [2, 1], tolerance: 1e-5)
  }

  /// Parts of vectors, several tiles and blocks: nothing outside of the operands and the scratch memory.
  @Test func staysWithinItsMemory() throws {
    var harness = KernelHarness(seed: 95)
    for extents in [[17, 33, 5, 9], [70, 130, 20, 70], [33, 300, 20, 70]] {
      let given = try inputs(extents, &harness)
      let dy = harness.input([.batch, 2, Dimension(extents[0]), Dimension(extents[3])])
      let operands = [given.q, given.k, given.v]
      let forward = try harness.apply(Attention(scale: 0.5), operands + [given.bias])
      for gradient in try harness.apply(
        AttentionGradient(scale: 0.5), [dy] + operands + forward + [given.bias])
      { try harness.output(gradient) }
    }
    try harness.checkSanitized(tolerance: 1e-5)
  }

  /// No leading axis, a batch behind another one, and windows of a batch.
  @Test func leadingAxes() throws {
    var harness = KernelHarness(seed: 92)
    for leading in [[], [.batch(times: 3)], [2, .batch], [.batch, 4, 3]] as [[Dimension]] {
      let operands = [6, 7, 7].map { harness.input(leading + [Dimension($0), 8]) }
      let bias = try harness.parameter(leading.count == 3 ? [4, 1, 7, 6] : [7, 6])
      try harness.output(try harness.apply(Attention(scale: 0.3), operands + [bias])[0])
    }
    try harness.check(batches: [3, 1, 2], tolerance: 1e-5)
  }

  /// Reads q, k and v from one product of [batch, positions, 3, heads, size], or of the positions first.
  @Test func views() throws {
    var harness = KernelHarness(seed: 93)
    let (positions, heads, size) = (10, 3, 8)
    let row = 3 * heads * size
    for isBatchFirst in [true, false] {
      let joined = harness.input([.batch(times: positions), Dimension(row)])
      let strides: [Dimension] =
        isBatchFirst
        ? [Dimension(positions * row), Dimension(size), Dimension(row)]
        : [Dimension(row), Dimension(size), .batch(times: row)]
      let views = AttentionViews(
        leading: [.batch, Dimension(heads)], queries: positions, keys: positions, size: size,
        width: size,
        views: (0..<3).map { AttentionView(offset: $0 * heads * size, strides: strides) },
        order: isBatchFirst ? [0, 2, 1, 3] : [2, 0, 1, 3])
      let y = try harness.apply(
        Attention(scale: 0.4, views: views), [joined, joined, joined])
      for result in y { try harness.output(result) }
    }
    try harness.check(batches: [3, 1, 2], tolerance: 1e-5)
  }

  @Test(arguments: [Target.native, .generic]) func gradients(target: Target) throws {
    var harness = KernelHarness(seed: 94, target: target)
    for extents in Self.extents {
      let given = try inputs(extents, &harness)
      let (q, k, v, bias) = (given.q, given.k, given.v, given.bias)
      let dy = harness.input([.batch, 2, Dimension(extents[0]), Dimension(extents[3])])
      for addend in [nil, bias] {
        let forward = try harness.apply(Attention(scale: 0.5), [q, k, v, addend])
        let gradients = try harness.apply(
          AttentionGradient(scale: 0.5), [dy, q, k, v, forward[0], forward[1], addend])
        for gradient in gradients { try harness.output(gradient) }
      }
    }
    try harness.check(batches: [2, 1], tolerance: 1e-5)
  }
}
