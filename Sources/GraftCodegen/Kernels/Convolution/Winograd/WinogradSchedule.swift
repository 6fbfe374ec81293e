// How a 3x3 convolution is computed by Winograd's algorithm: which transform, how many tiles at a time, the
// register tile of its products, and how it is split over threads.

import GraftIR
import GraftOps

/// Winograd convolution: blocks of image tiles are transformed, multiplied at each point with transformed
/// weights, and transformed back.
struct WinogradSchedule: Hashable {
  var tiling: WinogradTiling
  /// Output blocks of a register tile of the product.
  var groupBlocks: Int
  /// Image tiles of the wider register tiles; the others have one less.
  var groupTiles: Int
  /// Output blocks whose products are all in scratch before they are transformed back.
  var setBlocks: Int
  /// Image tiles that are transformed at a time, a multiple of `groupTiles`.
  var blockTiles: Int
  /// Input blocks that are summed in registers.
  var chunk: Int
  /// Whether threads share tiles of all images, or sets of outputs.
  var splitsTiles: Bool
  /// Whether the cache does not hold all weights, so that they are prefetched.
  var streamsWeights: Bool

  var transform: WinogradTransform { tiling.transform }
  var inputBlocks: Int { tiling.inputBlocks }
  var outputBlocks: Int { tiling.outputBlocks }
  var tiles: Int { tiling.tiles }
  var points: Int { tiling.points }
  var sets: Int { (outputBlocks + setBlocks - 1) / setBlocks }

  /// Floats between points beyond what they hold: a power of two would put all in one cache set.
  static let pointGap = 16

  func inputFloats(lanes: Int) -> Int {
    points * (inputBlocks * blockTiles * lanes + Self.pointGap)
  }

  func productFloats(lanes: Int) -> Int {
    points * (setBlocks * blockTiles * lanes + Self.pointGap)
  }

  /// What one thread needs beside activations.
  func scratchFloats(lanes: Int) -> Int { inputFloats(lanes: lanes) + productFloats(lanes: lanes) }

  /// What tells apart the orders that weights are packed in.
  var packedForm: String { "F\(transform.step) \(setBlocks) \(groupBlocks)" }

  func description(lanes: Int) -> String {
    let step = transform.step
    return "Winograd F(\(step)x\(step), 3x3), up to \(blockTiles) of \(tiles) tiles at a time, "
      + "register tile of \(groupBlocks * lanes) outputs x \(groupTiles) tiles, \(chunk) of "
      + "\(inputBlocks) input blocks at a time, threads split "
      + (splitsTiles ? "tiles of all images" : "\(sets) sets of \(setBlocks * lanes) outputs")
  }

  func weightFloats(lanes: Int) -> Int { points * inputBlocks * outputBlocks * lanes * lanes }

  /// - Parameter images: of a batch, where that is known.
  init(
    _ shape: ConvolutionShape, transform: WinogradTransform, _ variant: ConvolutionVariant? = nil,
    images: Dimension, target: Target
  ) {
    let lanes = target.lanes
    let tiling = WinogradTiling(shape, transform: transform, lanes: lanes)
    let (inputBlocks, outputBlocks) = (tiling.inputBlocks, tiling.outputBlocks)
    self.tiling = tiling
    (groupBlocks, groupTiles) = RegisterTile.choose(
      outputBlocks: outputBlocks, preferred: variant?.tileBlocks, target: target)
    let groups = (outputBlocks + groupBlocks - 1) / groupBlocks
    let points = tiling.points

    // Where outputs are many, threads share them, so that each streams its part of the weights only: they
    // all transform every input, which is little beside many products. Else they share tiles.
    splitsTiles = variant?.split.map { $0 == .tiles } ?? (shape.outputs < 192)
    // Few enough sets that inputs are not read again and again, and enough to share.
    let setGroups = splitsTiles ? min(groups, 4) : min(4, max(1, groups / 8))
    setBlocks = setGroups * groupBlocks

    let weightBytes = points * inputBlocks * outputBlocks * lanes * lanes * 4
    let tileBytes = points * (inputBlocks + setBlocks) * lanes * 4
    let fitting = target.cacheBytes / 2 / tileBytes
    // Weights that the cache does not hold had better serve many tiles.
    let usual = weightBytes > target.cacheBytes ? max(fitting, 30) : fitting
    let wanted = variant?.blocking?.scaling(usual) ?? usual
    let most = images.isBatch ? wanted : min(wanted, images.coefficient * tiling.tiles)
    blockTiles = max(1, (most + groupTiles - 1) / groupTiles) * groupTiles

    // As in the direct kernel: 128 terms in a register, for the sake of rounding.
    let (chunks, _, _) = RegisterTile.balanced(inputBlocks, most: max(1, 128 / lanes))
    chunk = (inputBlocks + chunks - 1) / chunks
    streamsWeights = weightBytes > target.cacheBytes / 2
  }

  /// Whether Winograd's algorithm can do the work at all.
  static func fits(_ shape: ConvolutionShape) -> Bool {
    shape.window.kernel == [3, 3] && shape.window.strides == [1, 1]
      && shape.window.dilations == [1, 1] && shape.groups == 1
  }
}
