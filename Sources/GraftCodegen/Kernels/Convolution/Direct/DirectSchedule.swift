// The schedule of a direct convolution on channel blocks or planes: register tile, blocking, division among
// threads. It depends only on shape and target.

import GraftIR
import GraftOps

/// The input blocks that each group of output blocks of a grouped convolution reads: the first, and how
/// many. Weights of channels outside a group are packed as zeros.
struct InputWindows: Hashable {
  var first: [Int]
  var counts: [Int]

  /// The largest number of input blocks, equal for all if the windows are.
  var widest: Int { counts.max() ?? 1 }
  var isUniform: Bool { counts.allSatisfy { $0 == widest } }

  /// The same windows, each as wide as the widest, inside `all` input blocks.
  func widened(all: Int) -> InputWindows {
    InputWindows(
      first: first.map { min($0, all - widest) }, counts: counts.map { _ in widest })
  }
}

/// Direct convolution: a register tile of output blocks × pixels, reduced over chunks of input blocks.
struct DirectSchedule: Hashable {
  /// Channels of an input block: the target's lanes, or 1 for a planar input.
  var inputBlock: Int
  /// Input blocks that each output needs: all of them, or the widest window of a grouped one.
  var inputBlocks: Int
  /// The input blocks that each group of output blocks reads, for a grouped convolution. Windows differ only
  /// if one chunk contains the widest.
  var windows: InputWindows?
  var outputBlocks: Int
  /// Output blocks of a register tile.
  var tileBlocks: Int
  /// Pixels of the narrower register tiles; `wideTiles` of them have one more.
  var tilePixels: Int
  var tiles: Int
  var wideTiles: Int
  /// Input blocks that are summed before a tile is written to memory.
  var chunk: Int
  /// Whether threads divide an image by tiles of pixels, or by groups of output blocks.
  var splitsTiles: Bool
  /// Tiles that are processed with one chunk of the input before the next.
  var tilesPerBlock: Int
  /// Cache lines of the next weight panel to prefetch for each tile and input block.
  var linesAhead: Int
  /// Cache lines of the next tile's pixels to prefetch for each input block.
  var inputLinesAhead: Int

  /// Groups of output blocks; the last one may be smaller.
  var groups: Int { (outputBlocks + tileBlocks - 1) / tileBlocks }
  var fullGroups: Int { outputBlocks / tileBlocks }
  var lastGroupBlocks: Int {
    outputBlocks % tileBlocks == 0 ? tileBlocks : outputBlocks % tileBlocks
  }
  var tilePixelsMost: Int { wideTiles > 0 ? tilePixels + 1 : tilePixels }
  var unitsPerImage: Int { splitsTiles ? tiles : groups }

  /// The key of the packed weight order, which images of any size share.
  var packedForm: String {
    let blocks = "\(inputBlocks) x \(inputBlock) to \(outputBlocks) by \(tileBlocks), \(chunk)"
    return windows.map { "\(blocks), windows \($0.first) of \($0.counts)" } ?? blocks
  }

  /// Floats of the packed weights for one input block and one output block.
  func blockWeights(kernel: [Int], lanes: Int) -> Int { kernel[0] * kernel[1] * inputBlock * lanes }

  /// Output blocks of group `group`.
  func blocks(ofGroup group: Int) -> Int { group < fullGroups ? tileBlocks : lastGroupBlocks }

  /// The number of (input block, output block) pairs before each group, and in total: the order of weights if
  /// there is only one chunk.
  var weightBlocksBefore: [Int] {
    (0..<groups).reduce(into: [0]) { sums, group in
      let inputs = windows?.counts[group] ?? inputBlocks
      sums.append((sums.last ?? 0) + inputs * blocks(ofGroup: group))
    }
  }

  /// The number of (input block, output block) pairs with packed weights.
  var weightBlocks: Int {
    windows == nil ? inputBlocks * outputBlocks : weightBlocksBefore.last ?? 0
  }
}

extension DirectSchedule {
  /// Products that a register sums before it goes to memory, where one input block has no more.
  private static let mostTermsOfChunk = 144

  /// - Parameter isPlanar: whether the input has channel block 1.
  init(
    _ shape: ConvolutionShape, isPlanar: Bool, _ variant: ConvolutionVariant = .direct,
    target: Target
  ) {
    let lanes = target.lanes
    let inputBlock = isPlanar ? 1 : lanes
    let allInputBlocks = (shape.channels + inputBlock - 1) / inputBlock
    let outputBlocks = (shape.outputs + lanes - 1) / lanes
    var (tileBlocks, mostPixels) = RegisterTile.choose(
      outputBlocks: outputBlocks, preferred: variant.tileBlocks, target: target)
    var windows: InputWindows?
    if shape.groups > 1 {
      (tileBlocks, mostPixels, windows) = Self.groupedTile(
        shape, inputBlock: inputBlock, outputBlocks: outputBlocks, target: target)
    }
    let groups = (outputBlocks + tileBlocks - 1) / tileBlocks
    let inputBlocks = windows?.widest ?? allInputBlocks
    let (tiles, narrow, wide) = RegisterTile.balanced(shape.resultPixels, most: mostPixels)

    // A weight panel of one chunk and one group should stay in the L1 cache.
    let panelBytes =
      shape.window.kernel[0] * shape.window.kernel[1] * inputBlock * lanes
      * tileBlocks * 4
    // A chunk is summed in registers, then added to memory: with few terms in a chunk, the rounding error
    // stays small in sums of thousands of terms. Where a 1x1 kernel runs over a large image, few terms also keep the pixels of a
    // block of tiles in the L2 cache: a convolution of 256 to 128 channels at 56x56 went from 68 to 96
    // GFLOP/s, of 104.
    // Different windows are not split into chunks, which would make each as wide as the widest.
    let isPointwise = shape.window.kernel == [1, 1]
    let isLarge = shape.resultPixels >= 28 * 28
    let blockTerms = shape.window.kernel[0] * shape.window.kernel[1] * inputBlock
    let areAlike = windows?.isUniform ?? true
    let mostBlocks = areAlike ? max(1, Self.mostTermsOfChunk / blockTerms) : inputBlocks
    let (chunks, _, _) = RegisterTile.balanced(
      inputBlocks, most: min(mostBlocks, max(1, (20 << 10) / max(1, panelBytes))))
    let chunk = (inputBlocks + chunks - 1) / chunks
    if let differing = windows, chunk < inputBlocks {
      windows = differing.widened(all: allInputBlocks)
    }

    // Rows where the image is large, output groups where it is small: then each thread streams only
    // its part of the weights.
    let splitsTiles = variant.split.map { $0 == .tiles } ?? (isLarge || groups < 8)
    let rowsTouched = isPointwise ? 1 : shape.window.strides[0]
    let tileInputBytes =
      mostPixels * rowsTouched * shape.window.strides[1] * chunk * inputBlock * 4
    let perBlock = max(24, target.cacheBytes / 4 / max(1, tileInputBytes))
    let (blocks, _, _) = RegisterTile.balanced(
      tiles, most: variant.blocking?.scaling(perBlock) ?? perBlock)

    let weightBytes = panelBytes / tileBlocks * outputBlocks * inputBlocks
    let lines = (panelBytes / 64 + tiles - 1) / tiles
    self.init(
      inputBlock: inputBlock, inputBlocks: inputBlocks, windows: windows,
      outputBlocks: outputBlocks, tileBlocks: tileBlocks, tilePixels: narrow, tiles: tiles,
      wideTiles: wide, chunk: chunk, splitsTiles: splitsTiles,
      tilesPerBlock: (tiles + blocks - 1) / blocks,
      linesAhead: weightBytes > target.cacheBytes / 2 ? min(lines, 16) : 0,
      // The hardware prefetcher does not predict the stride between channel blocks.
      inputLinesAhead: isPointwise && isLarge && shape.window.strides == [1, 1] && !isPlanar
        ? (mostPixels * lanes * 4 + 63) / 64 : 0)
  }

  /// The tile of a grouped convolution and its input blocks. A wide tile may span several groups, and then
  /// multiplies by zeros; a tile of one block is a quarter slower for the same work.
  private static func groupedTile(
    _ shape: ConvolutionShape, inputBlock: Int, outputBlocks: Int, target: Target
  ) -> (blocks: Int, pixels: Int, windows: InputWindows) {
    let widest = RegisterTile.choose(outputBlocks: outputBlocks, target: target).blocks
    var best: (blocks: Int, windows: InputWindows, cost: Int)?
    for blocks in Set([1, min(2, widest), widest]).sorted(by: >) {
      let windows = windows(
        shape, inputBlock: inputBlock, tileOutputs: blocks * target.lanes,
        groups: (outputBlocks + blocks - 1) / blocks)
      let cost = windows.counts.reduce(0, +) * blocks * (blocks == 1 ? 5 : 4)
      if best == nil || cost < best?.cost ?? 0 { best = (blocks, windows, cost) }
    }
    let chosen = best?.blocks ?? 1
    return (
      chosen, RegisterTile.pixels(blocks: chosen, target: target),
      best?.windows ?? InputWindows(first: [], counts: [])
    )
  }

  /// The input blocks that hold the channels of each group of output blocks.
  private static func windows(
    _ shape: ConvolutionShape, inputBlock: Int, tileOutputs: Int, groups: Int
  ) -> InputWindows {
    var ranges: [ClosedRange<Int>] = []
    for group in 0..<groups {
      let firstOutput = group * tileOutputs
      let lastOutput = min(shape.outputs, firstOutput + tileOutputs) - 1
      let firstChannel = firstOutput / shape.outputsPerGroup * shape.channelsPerGroup
      let lastChannel = (lastOutput / shape.outputsPerGroup + 1) * shape.channelsPerGroup - 1
      ranges.append(firstChannel / inputBlock...lastChannel / inputBlock)
    }
    return InputWindows(first: ranges.map(\.lowerBound), counts: ranges.map(\.count))
  }
}
