// Batches that go through the network in parts: the same bits in the right places, and only where every image
// is a row of every value.

import GraftIR
import GraftOps
import Testing

@testable import GraftCodegen

@Suite struct ImagesAtOnceTests {
  /// Parts of one image, of several and a smaller one at the end, beside one part for all.
  @Test(arguments: [1, 2, 3, 5]) func partsDoNotTouch(images: Int) throws {
    var harness = KernelHarness(seed: 51)
    harness.imagesAtOnce = images
    try ConvolutionKernelTests.addNarrow(outputs: [24, 40], to: &harness)
    try harness.checkBatchPositions(batch: 5)
  }

  private func work(_ activations: Int, _ weights: Int) -> [StepWork] {
    var work = StepWork()
    (work.activationBytes, work.weightBytes) = (activations, weights)
    return [work]
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

  @Test func asManyAsACacheHolds() {
    let rows = graph([[.batch, 3]], [[.batch, 2]])
    func choice(_ arena: Int, _ activations: Int, _ weights: Int) -> Int? {
      ImagesAtOnce.choose(
        for: rows, arenaBytesPerImage: arena, work: work(activations, weights))
    }
    // ResNet-20, ResNet-18, ResNet-50, VGG-16.
    #expect(choice(221_952, 2_433_160, 2_382_731) == 4)
    #expect(choice(4_072_448, 29_498_112, 97_092_171) == 1)
    #expect(choice(7_225_344, 117_204_736, 158_852_370) == 1)
    #expect(choice(25_920_512, 126_968_832, 729_984_928) == nil)
    #expect(choice(0, 0, 0) == nil)
  }

  @Test func onlyRowsOfImages() {
    #expect(graph([[.batch, 3], [.batch]], [[.batch, 2, 2]]).isImageByImage)
    for shape: [Dimension] in [[], [3], [3, .batch], [.batch(times: 2), 3], [.batch, .batch]] {
      #expect(!graph([shape], [[.batch, 2]]).isImageByImage, "\(shape)")
      #expect(!graph([[.batch, 2]], [shape]).isImageByImage, "\(shape)")
    }
  }
}
