// Batch processing: the first layers process the batch in parts of a few images, so that a layer's output is
// still cached when the next layer reads it; later layers process all images together, so that their weights,
// which are larger than their activations, are read once.

import GraftIR

/// The steps that process a batch in parts, and the number of images per part.
public struct BatchParts: Hashable, Sendable {
  /// Images of a part.
  public var images: Int
  /// The number of nodes, from the first one, that process the batch in parts.
  public var nodes: Int

  public init(images: Int, nodes: Int) {
    self.images = images
    self.nodes = nodes
  }

  /// The target size of the activations of a part in bytes. ResNet-20's images of 0.2 MB were fastest 2 to 6
  /// at a time, a fifth slower 64 at a time; images of 4 MB (ResNet-18) 3 to 8 % slower 8 at a time.
  private static let activationBytes = 1 << 20
  /// The maximum image size in bytes for parts of at least two images, so that each of two threads works on
  /// its own image and reads little data of the other: 2 to 3 % faster if the cores share no close cache, the
  /// same if they do (ResNet-18 and -50 on Zen 5). VGG-16's images of 26 MB were 2 % slower in pairs.
  private static let pairBytes = 8 << 20
  /// The cost of an activation byte that is evicted from the caches, in bytes of weights, which are
  /// prefetched. Blocks of ResNet-50 with 3.6 times as many bytes of weights as of activations were 5 %
  /// faster on whole batches, ResNet-18's with 2.4 times as many 8 % slower.
  private static let weightsPerActivation = 3.0

  /// The parts with the least cost; nil if processing whole batches is cheaper.
  /// - Parameter nodes: the work of each for one image.
  static func choose(
    for graph: Graph, arenaBytesPerImage: Int, nodes: [StepWork]
  ) -> BatchParts? {
    guard arenaBytesPerImage > 0 else { return nil }
    let ends = graph.endsOfParts()
    let images = max(arenaBytesPerImage <= pairBytes ? 2 : 1, activationBytes / arenaBytesPerImage)
    var (saved, most, count) = (0.0, 0.0, 0)
    for (index, work) in nodes.enumerated() {
      saved += weightsPerActivation * Double(work.activationBytes)
      saved -= Double(work.weightBytes) / Double(images)
      if saved > most, ends.contains(index + 1) { (most, count) = (saved, index + 1) }
    }
    return count == 0 ? nil : BatchParts(images: images, nodes: count)
  }
}

extension Graph {
  /// The numbers of leading nodes that can process a batch in parts: those after which every value that grows
  /// with the batch and has later readers has one row of memory per image. No operator computes along an axis
  /// that depends on the batch, so images are independent; values inside a part may have the batch on any
  /// axis.
  func endsOfParts() -> Set<Int> {
    func dependsOnBatch(_ value: ValueID) -> Bool { type(of: value).shape.dependsOnBatch }
    func isRows(_ value: ValueID) -> Bool {
      let shape = type(of: value).shape
      return shape.rank > 0 && shape[0] == .batch
        && !shape.dimensions.dropFirst().contains(where: \.isBatch)
    }
    guard (inputs + outputs.map(\.value)).allSatisfy(isRows) else { return [] }
    let nodes = nodes
    var lastReader: [ValueID: Int] = [:]
    for (index, node) in nodes.enumerated() {
      for operand in node.presentOperands { lastReader[operand] = index }
    }
    var ends = Set<Int>()
    // The last node with a crossing value that is not one row per image.
    var free = 0
    for (index, node) in nodes.enumerated() {
      let mixes = node.presentOperands.contains(where: dependsOnBatch)
      for result in node.results {
        if mixes && !dependsOnBatch(result) { return ends }
        if dependsOnBatch(result), !isRows(result) { free = max(free, lastReader[result] ?? 0) }
      }
      if index >= free { ends.insert(index + 1) }
    }
    return ends
  }
}
