// How many images of a batch go through the whole network before the next ones: few, and what one layer
// leaves is still in a cache when the next one reads it; many, and weights are read less often.

import GraftIR

/// The choice of how many images of a batch run together.
enum ImagesAtOnce {
  /// Activations of so many bytes had better stay together. ResNet-20's images of 0.2 MB were fastest 2 to 6
  /// at a time, a fifth slower 64 at a time; images of 4 MB (ResNet-18) fastest one by
  /// one, 3 to 8 % slower 8 at a time.
  private static let activationBytes = 1 << 20
  /// Weights cost less to read than activations, since they are prefetched: one by one was as fast with 1.4
  /// times as many bytes of them (ResNet-50), faster with 3.3 times (ResNet-18), a fifth slower with 5.7
  /// times (VGG-16).
  private static let mostWeights = 4.0

  /// Images that run together, or nil for whole batches.
  /// - Parameter work: of each step, for one image.
  static func choose(for graph: Graph, arenaBytesPerImage: Int, work: [StepWork]) -> Int? {
    guard graph.isImageByImage, arenaBytesPerImage > 0 else { return nil }
    let activations = work.reduce(0) { $0 + Double($1.activationBytes) }
    let weights = work.reduce(0) { $0 + Double($1.weightBytes) }
    guard weights <= mostWeights * activations else { return nil }
    return max(1, activationBytes / arenaBytesPerImage)
  }
}

extension Graph {
  /// Whether every value that grows with the batch is a row of memory for each image. No operator computes
  /// along an axis that depends on the batch, so that images are then all done alike, and in any company.
  var isImageByImage: Bool {
    func isRows(_ value: ValueID) -> Bool {
      let shape = type(of: value).shape
      return shape.rank > 0 && shape[0] == .batch
        && !shape.dimensions.dropFirst().contains(where: \.isBatch)
    }
    return (inputs + outputs.map(\.value)).allSatisfy(isRows)
      && nodes.allSatisfy { node in
        let results = node.results.filter {
          type(of: $0).shape.dimensions.contains(where: \.isBatch)
        }
        let readsRows = node.presentOperands.contains(where: isRows)
        return results.allSatisfy(isRows) && (!readsRows || results.count == node.results.count)
      }
  }
}
