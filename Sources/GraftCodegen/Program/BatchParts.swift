// How a batch goes through a network: its first layers in parts of few images, so that what one layer leaves
// is still in a cache when the next one reads it; the later ones with all images together, so that their
// weights, which are more than their activations, are read once.

import GraftIR

/// The steps that take a batch in parts, and how many images a part has.
public struct BatchParts: Hashable, Sendable {
  /// Images of a part.
  public var images: Int
  /// The nodes, the first of the graph, that a part goes through before the next one.
  public var nodes: Int

  public init(images: Int, nodes: Int) {
    self.images = images
    self.nodes = nodes
  }

  /// Activations of so many bytes had better stay together. ResNet-20's images of 0.2 MB were fastest 2 to 6
  /// at a time, a fifth slower 64 at a time; images of 4 MB (ResNet-18) 3 to 8 % slower 8 at a time.
  private static let activationBytes = 1 << 20
  /// Two images of so many bytes still go together, so that two threads keep to one each and read little of
  /// what the other wrote: 2 to 3 % faster where the cores share no nearby cache, the same where they do
  /// (ResNet-18 and -50 on Zen 5). VGG-16's 26 MB were 2 % slower in twos.
  private static let pairBytes = 8 << 20
  /// A byte of an image's activations that leaves the caches costs as much as reading so many of weights,
  /// which are prefetched. Blocks of ResNet-50 with 3.6 times as many bytes of weights as of activations were
  /// 5 % faster on whole batches, ResNet-18's with 2.4 times as many 8 % slower.
  private static let weightsPerActivation = 3.0

  /// The parts that cost least; nil if whole batches do.
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
  /// How many nodes, the first of the graph, may take a batch in parts: those after which every value that
  /// grows with the batch, and that later nodes or the caller read, is a row of memory for each image. No
  /// operator computes along an axis that depends on the batch, so that images are then all done alike, and
  /// in any company; what stays inside a part may hold the batch on any axis.
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
    // The node behind which nothing but rows crosses.
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
