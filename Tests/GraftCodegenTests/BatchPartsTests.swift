// Batches whose images go through the first layers in parts: the same bits in the right places, and only
// where every image is a row of every value.

import GraftOps
import Testing

@testable import GraftCodegen
@testable import GraftIR

@Suite struct BatchPartsTests {
  /// Parts of one image, of several and a smaller one at the end, beside one part for all.
  @Test(arguments: [1, 2, 3, 5]) func partsDoNotTouch(images: Int) throws {
    var harness = KernelHarness(seed: 51)
    try ConvolutionKernelTests.addNarrow(outputs: [24, 40], to: &harness)
    harness.parts = BatchParts(images: images, nodes: harness.graph.nodes.count)
    try harness.checkBatchPositions(batch: 5)
  }

  /// Layers in parts before every one that takes the batch whole: convolutions, a residual that is read
  /// behind it, a view, and an output.
  @Test(arguments: [1, 2]) func laterStepsTakeTheBatchWhole(images: Int) throws {
    var harness = try BundleTests.network(seed: 52)
    let count = harness.graph.nodes.count
    try #require(count > 5)
    for nodes in 1...count {
      harness.parts = BatchParts(images: images, nodes: nodes)
      try harness.checkBatchPositions(batch: 5)
    }
  }

  private func graph(
    _ inputs: [[Dimension]], _ outputs: [[Dimension]]
  ) -> Graph {
    var graph = Graph(name: "rows")
    for (index, shape) in inputs.enumerated() {
      _ = graph.addInput("x\(index)", TensorType(.float32, TensorShape(shape)))
    }
    for (index, shape) in outputs.enumerated() {
      let value = graph.addInput("y\(index)", TensorType(.float32, TensorShape(shape)))
      graph.outputs.append(GraphOutput(name: "y\(index)", value: value))
    }
    return graph
  }

  /// Rows of images through one node after the other: what is chosen depends on their work.
  private func choice(
    _ arena: Int, _ nodes: [(activations: Int, weights: Int)]
  ) throws -> BatchParts? {
    var graph = graph([[.batch, 3]], [])
    var value = graph.inputs[0]
    for _ in nodes { value = try graph.append(Relu(), [value])[0] }
    graph.outputs = [GraphOutput(name: "y", value: value)]
    return BatchParts.choose(
      for: graph, arenaBytesPerImage: arena,
      nodes: nodes.map { bytes in
        var work = StepWork()
        (work.activationBytes, work.weightBytes) = bytes
        return work
      })
  }

  @Test func weightsEndTheParts() throws {
    let (many, few) = ((activations: 2, weights: 6), (activations: 2, weights: 5))
    let large = 16 << 20
    #expect(try choice(large, [few, few]) == BatchParts(images: 1, nodes: 2))
    #expect(try choice(large, [few, many, many]) == BatchParts(images: 1, nodes: 1))
    #expect(try choice(large, [few, many, (2, 7), few]) == BatchParts(images: 1, nodes: 1))
    #expect(try choice(large, [few, (2, 7), few, few]) == BatchParts(images: 1, nodes: 4))
    #expect(try choice(large, [many, many]) == nil)
    #expect(try choice(large, []) == nil)
    // Every part reads the weights once: two images share them.
    #expect(try choice(large / 2, [few, (2, 11)]) == BatchParts(images: 2, nodes: 2))
    #expect(try choice(large / 2, [few, (2, 13)]) == BatchParts(images: 2, nodes: 1))
  }

  @Test func asManyAsACacheHolds() throws {
    #expect(try choice(221_952, [(1, 0)])?.images == 4)
    #expect(try choice(4_072_448, [(1, 0)])?.images == 2)
    #expect(try choice(25_900_000, [(1, 0)])?.images == 1)
    #expect(try choice(0, [(1, 0)]) == nil)
  }

  /// What crosses the end of a part is rows of images; inside, the batch may be on any axis.
  @Test func onlyRowsOfImages() throws {
    func ends(_ input: [Dimension], _ operations: [any GraftOps.Operator]) throws -> Set<Int> {
      var graph = Graph(name: "rows")
      var value = graph.addInput("x", TensorType(.float32, TensorShape(input)))
      for operation in operations { value = try graph.append(operation, [value])[0] }
      graph.outputs = [GraphOutput(name: "y", value: value)]
      return graph.endsOfParts()
    }
    #expect(try ends([.batch, 3], [Relu(), Relu()]) == [1, 2])
    for shape: [Dimension] in [[], [3], [3, .batch], [.batch(times: 2), 3]] {
      #expect(try ends(shape, [Relu(), Relu()]).isEmpty, "\(shape)")
    }
    let (there, back) = (Transpose(permutation: [1, 0]), Transpose(permutation: [1, 0]))
    #expect(try ends([.batch, 3], [Relu(), there, Relu(), back, Relu()]) == [1, 4, 5])
    #expect(try ends([.batch, 3], [Relu(), there]).isEmpty)
    #expect(try ends([.batch, 3], [Relu(), Reshape(shape: [.batch(times: 3)])]).isEmpty)
    #expect(try ends([.batch, 3], [ReduceSum(axes: [0]), Relu()]).isEmpty)
  }

  /// Parts that hold the batch on an inner axis between their first and their last node.
  @Test(arguments: [1, 2, 3]) func innerAxesInsideParts(images: Int) throws {
    var harness = KernelHarness(seed: 53)
    let x = harness.input([.batch, 5, 4])
    let weight = try harness.parameter([4, 7])
    let there = try harness.apply(Transpose(permutation: [1, 0, 2]), [x])[0]
    let product = try harness.apply(MatrixMultiply(), [there, weight])[0]
    let soft = try harness.apply(Softmax(axis: 0), [product])[0]
    let back = try harness.apply(Transpose(permutation: [1, 0, 2]), [soft])[0]
    try harness.output(try harness.apply(Relu(), [back])[0])
    harness.parts = BatchParts(images: images, nodes: 4)
    try harness.checkBatchPositions(batch: 5)
  }
}
