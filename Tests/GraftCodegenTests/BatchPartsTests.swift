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

  /// Rows of images, all nodes left out: what is chosen depends on their work.
  private func choice(_ arena: Int, _ nodes: [(activations: Int, weights: Int)]) -> BatchParts? {
    BatchParts.choose(
      for: graph([[.batch, 3]], [[.batch, 2]]), arenaBytesPerImage: arena,
      nodes: nodes.map { bytes in
        var work = StepWork()
        (work.activationBytes, work.weightBytes) = bytes
        return work
      })
  }

  @Test func weightsEndTheParts() {
    let (many, few) = ((activations: 2, weights: 6), (activations: 2, weights: 5))
    let large = 16 << 20
    #expect(choice(large, [few, few]) == BatchParts(images: 1, nodes: 2))
    #expect(choice(large, [few, many, many]) == BatchParts(images: 1, nodes: 1))
    #expect(choice(large, [few, many, (2, 7), few]) == BatchParts(images: 1, nodes: 1))
    #expect(choice(large, [few, (2, 7), few, few]) == BatchParts(images: 1, nodes: 4))
    #expect(choice(large, [many, many]) == nil)
    #expect(choice(large, []) == nil)
    // Every part reads the weights once: two images share them.
    #expect(choice(large / 2, [few, (2, 11)]) == BatchParts(images: 2, nodes: 2))
    #expect(choice(large / 2, [few, (2, 13)]) == BatchParts(images: 2, nodes: 1))
  }

  @Test func asManyAsACacheHolds() {
    #expect(choice(221_952, [(1, 0)])?.images == 4)
    #expect(choice(4_072_448, [(1, 0)])?.images == 2)
    #expect(choice(25_900_000, [(1, 0)])?.images == 1)
    #expect(choice(0, [(1, 0)]) == nil)
  }

  @Test func onlyRowsOfImages() {
    #expect(graph([[.batch, 3], [.batch]], [[.batch, 2, 2]]).isImageByImage)
    for shape: [Dimension] in [[], [3], [3, .batch], [.batch(times: 2), 3], [.batch, .batch]] {
      #expect(!graph([shape], [[.batch, 2]]).isImageByImage, "\(shape)")
      #expect(!graph([[.batch, 2]], [shape]).isImageByImage, "\(shape)")
    }
  }
}
