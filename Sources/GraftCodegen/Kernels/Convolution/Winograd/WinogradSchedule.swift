// The schedule of a convolution by Winograd's algorithm: transform, tiles per block, register tile of the
// products, division among threads.

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
  /// Output blocks whose products are in scratch memory before they are transformed back.
  var setBlocks: Int
  /// Image tiles that are transformed at a time, a multiple of `groupTiles`.
  var blockTiles: Int
  /// Input blocks that are summed in registers.
  var chunk: Int
  /// Whether threads divide the tiles of all images, or the sets of outputs.
  var splitsTiles: Bool
  /// Whether the weights exceed the cache, so that they are prefetched.
  var streamsWeights: Bool

  var transform: WinogradTransform { tiling.transform }
  var inputBlocks: Int { tiling.inputBlocks }
  var outputBlocks: Int { tiling.outputBlocks }
  var tiles: Int { tiling.tiles }
  var points: Int { tiling.points }
  var sets: Int { (outputBlocks + setBlocks - 1) / setBlocks }

  /// Padding between points in floats, because a power-of-two stride would map all to one cache set.
  static let pointGap = 16

  func inputFloats(lanes: Int) -> Int {
    points * (inputBlocks * blockTiles * lanes + Self.pointGap)
  }

  func productFloats(lanes: Int) -> Int {
    points * (setBlocks * blockTiles * lanes + Self.pointGap)
  }

  /// Scratch memory per thread in floats.
  func scratchFloats(lanes: Int) -> Int { inputFloats(lanes: lanes) + productFloats(lanes: lanes) }

  /// The key of the packed weight order.
  var packedForm: String { "\(transform.title) \(setBlocks) \(groupBlocks)" }

  func description(lanes: Int) -> String {
    "Winograd \(transform.title), up to \(blockTiles) of \(tiles) tiles at a time, "
      + "register tile of \(groupBlocks * lanes) outputs x \(groupTiles) tiles, \(chunk) of "
      + "\(inputBlocks) input blocks at a time, threads split "
      + (splitsTiles ? "tiles of all images" : "\(sets) sets of \(setBlocks * lanes) outputs")
  }

  func weightFloats(lanes: Int) -> Int { points * inputBlocks * outputBlocks * lanes * lanes }

  /// - Parameter images: the batch size, if it is known.
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

    // With many outputs, threads divide them, so that each streams only its share of the weights; all
    // transform every input, which is cheap relative to the products. Otherwise they divide tiles.
    splitsTiles = variant?.split.map { $0 == .tiles } ?? (shape.outputs < 192)
    // Few enough sets to avoid rereading inputs, and enough for all threads.
    let setGroups = splitsTiles ? min(groups, 4) : min(4, max(1, groups / 8))
    setBlocks = setGroups * groupBlocks

    let weightBytes = points * inputBlocks * outputBlocks * lanes * lanes * 4
    let tileBytes = points * (inputBlocks + setBlocks) * lanes * 4
    let fitting = target.cacheBytes / 2 / tileBytes
    // Weights that exceed the cache are used for many tiles.
    let usual = weightBytes > target.cacheBytes ? max(fitting, 30) : fitting
    let wanted = variant?.blocking?.scaling(usual) ?? usual
    let most = images.isBatch ? wanted : min(wanted, images.coefficient * tiling.tiles)
    blockTiles = max(1, (most + groupTiles - 1) / groupTiles) * groupTiles

    // As in the direct kernel: 128 terms in a register, for the sake of rounding.
    let (chunks, _, _) = RegisterTile.balanced(inputBlocks, most: max(1, 128 / lanes))
    chunk = (inputBlocks + chunks - 1) / chunks
    streamsWeights = weightBytes > target.cacheBytes / 2
  }

  /// The rows and columns of a kernel that Winograd's algorithm is applicable to; nil for others.
  static func taps(of shape: ConvolutionShape) -> Int? {
    let kernel = shape.window.kernel
    guard [[2, 2], [3, 3]].contains(kernel), shape.window.strides == [1, 1],
      shape.window.dilations == [1, 1], shape.groups == 1
    else { return nil }
    return kernel[0]
  }
}
