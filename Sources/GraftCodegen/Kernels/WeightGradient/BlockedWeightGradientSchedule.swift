// How the gradient of weights is summed in register tiles of outputs × weights over strips of pixels. A
// function of shape and target alone, as for the convolution itself.

import GraftIR
import GraftOps

/// A register tile of output blocks × weights, summed over strips of pixels that stay in the first-level
/// cache while all tiles of a unit take their part of them.
struct BlockedWeightGradientSchedule: Hashable {
  /// Channels of an input block: the target's lanes, or 1 for a planar image.
  var inputBlock: Int
  /// Groups of the convolution that are done one after the other; each is whole blocks.
  var convolutionGroups: Int
  /// Output blocks of one of them.
  var groupBlocks: Int
  /// Output blocks of a register tile.
  var tileBlocks: Int
  /// Channels of a register tile.
  var tileChannels: Int
  /// Columns of the kernel in a register tile; where they are fewer than the kernel has, the first
  /// `wideParts` of `parts` tiles have so many and the others one less.
  var tileColumns: Int
  var parts: Int
  var wideParts: Int
  /// Input blocks and rows of the kernel of one unit.
  var setBlocks: Int
  var sets: Int
  var setRows: Int
  var rowSets: Int
  /// Images and rows of them that a register tile is summed over at a time.
  var stripImages: Int
  var stripRows: Int

  var groups: Int { (groupBlocks + tileBlocks - 1) / tileBlocks }
  var fullGroups: Int { groupBlocks / tileBlocks }
  var lastGroupBlocks: Int {
    groupBlocks % tileBlocks == 0 ? tileBlocks : groupBlocks % tileBlocks
  }
  var tileTaps: Int { tileChannels * tileColumns }
  var units: Int { convolutionGroups * groups * sets * rowSets }
}

extension BlockedWeightGradientSchedule {
  struct Tile {
    var blocks: Int
    var channels: Int
    var columns: Int
    var parts: Int
    var wideParts: Int
  }

  /// The register tile with the fewest cycles for all weights: a pixel takes two products a cycle, two
  /// loads a cycle, and four cycles between two sums into one register, whichever is longest.
  static func tile(
    groupBlocks: Int, inputBlock: Int, kernelWidth: Int, target: Target
  ) -> Tile {
    // Besides sums and gradients: one broadcast, and a product where they are not fused.
    let spare = target.hasFusedMultiplyAdd ? 1 : 2
    var best = Tile(blocks: 1, channels: 1, columns: 1, parts: kernelWidth, wideParts: kernelWidth)
    var bestCost = Double.infinity
    for blocks in 1...min(4, groupBlocks) {
      for channels in [1, 2, 4, 8, 16] where inputBlock.isMultiple(of: channels) {
        let most = (target.registers - spare - blocks) / blocks / channels
        guard most >= 1, channels == 1 || most >= kernelWidth else { continue }
        let (parts, narrow, wide) = RegisterTile.balanced(kernelWidth, most: most)
        let tile = Tile(
          blocks: blocks, channels: channels, columns: wide > 0 ? narrow + 1 : narrow,
          parts: parts, wideParts: wide > 0 ? wide : parts)
        let cost =
          Double(groupBlocks / blocks) * cycles(tile, blocks: blocks)
          + cycles(tile, blocks: groupBlocks % blocks)
        if cost / Double(channels) < bestCost - 1e-9 {
          (best, bestCost) = (tile, cost / Double(channels))
        }
      }
    }
    return best
  }

  private static func cycles(_ tile: Tile, blocks: Int) -> Double {
    guard blocks > 0 else { return 0 }
    func ofPart(_ taps: Int) -> Double {
      max(Double(blocks * taps) / 2, Double(blocks + taps) / 2, 4) + 0.5
    }
    return Double(tile.wideParts) * ofPart(tile.channels * tile.columns)
      + Double(tile.parts - tile.wideParts) * ofPart(tile.channels * (tile.columns - 1))
  }

  /// - Parameters:
  ///   - xRow: floats from one row of x to the next.
  ///   - isPlanar: whether x has channel block 1.
  init(_ shape: ConvolutionShape, xRow: Int, isPlanar: Bool, target: Target) {
    let lanes = target.lanes
    let inputBlock = isPlanar ? 1 : lanes
    let (height, width) = (shape.window.kernel[0], shape.window.kernel[1])
    let groupBlocks = (shape.outputsPerGroup + lanes - 1) / lanes
    let tile = Self.tile(
      groupBlocks: groupBlocks, inputBlock: inputBlock, kernelWidth: width, target: target)

    // A strip of both images should stay in the L1 cache.
    let budget = 26 << 10
    let stride = shape.window.strides[0]
    let rowBytes = (tile.blocks * shape.resultWidth * lanes + stride * xRow) * 4
    let overlap = max(0, shape.window.reach(0) - stride) * xRow * 4
    let fit = max(1, (budget - min(budget, overlap)) / rowBytes)
    let (strips, narrow, wide) = RegisterTile.balanced(
      shape.resultHeight, most: min(fit, shape.resultHeight))
    let imageBytes = shape.resultHeight * rowBytes + overlap
    let wanted = (256 + shape.resultPixels - 1) / shape.resultPixels
    let images = strips > 1 ? 1 : max(1, min(wanted, budget / imageBytes))

    // Few products for each pixel that is read: several input blocks share the gradient's strip.
    let inputBlocks = (shape.channelsPerGroup + inputBlock - 1) / inputBlock
    let groups = shape.groups * ((groupBlocks + tile.blocks - 1) / tile.blocks)
    let blockBytes =
      height * (inputBlock / tile.channels) * tile.parts * tile.blocks * tile.channels
      * tile.columns * lanes * 4
    let (_, narrowSet, wideSet) = RegisterTile.balanced(
      inputBlocks,
      most: max(1, min((16 << 10) / blockBytes, (16 + height * width - 1) / (height * width))))
    var setBlocks = wideSet > 0 ? narrowSet + 1 : narrowSet
    while setBlocks > 1, groups * ((inputBlocks + setBlocks - 1) / setBlocks) < 8 {
      setBlocks -= 1
    }
    let sets = (inputBlocks + setBlocks - 1) / setBlocks
    // One row of the kernel for each unit where there are few units, or one unit's sums get large. Of an
    // image's few channels all rows together take less time than reading a large gradient for each.
    let splitsRows = groups * sets < (isPlanar ? 4 : 8) || blockBytes > 64 << 10
    self.init(
      inputBlock: inputBlock, convolutionGroups: shape.groups, groupBlocks: groupBlocks,
      tileBlocks: tile.blocks, tileChannels: tile.channels, tileColumns: tile.columns,
      parts: tile.parts, wideParts: tile.wideParts, setBlocks: setBlocks, sets: sets,
      setRows: splitsRows ? 1 : height, rowSets: splitsRows ? height : 1, stripImages: images,
      stripRows: wide > 0 ? narrow + 1 : narrow)
  }
}
