// How a convolution is computed: algorithm, register tile, blocking, how it is split over threads. A
// pure function of shape and target; rendering and packing only follow it.

import GraftDiagnostics
import GraftIR
import GraftOps

/// All extents of one convolution. The batch is not among them: every image is done alike.
struct ConvolutionShape: Hashable {
  var channels: Int
  var height: Int
  var width: Int
  var outputs: Int
  var resultHeight: Int
  var resultWidth: Int
  var window: Window
  var groups: Int

  var resultPixels: Int { resultHeight * resultWidth }
  var channelsPerGroup: Int { channels / groups }
  var outputsPerGroup: Int { outputs / groups }
  var isDepthwise: Bool { groups == channels && outputs == channels && groups > 1 }
}

/// The input blocks that each group of output blocks of a grouped convolution reads: the first, and how
/// many. Weights of channels outside a group are packed as zeros.
struct InputWindows: Hashable {
  var first: [Int]
  var counts: [Int]

  /// The largest number of input blocks, which is that of all where the windows are alike.
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
  /// What each group of output blocks reads, for a grouped convolution. Windows differ only where
  /// one chunk holds the widest.
  var windows: InputWindows?
  var outputBlocks: Int
  /// Output blocks of a register tile.
  var tileBlocks: Int
  /// Pixels of the narrower register tiles; `wideTiles` of them have one more.
  var tilePixels: Int
  var tiles: Int
  var wideTiles: Int
  /// Input blocks that are reduced before a tile goes back to memory.
  var chunk: Int
  /// Whether threads share an image by tiles of pixels, or by groups of output blocks.
  var splitsTiles: Bool
  /// Tiles that one chunk of the input is used for before the next.
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

  /// Floats of the packed weights for one input block and one output block.
  func blockWeights(kernel: [Int], lanes: Int) -> Int { kernel[0] * kernel[1] * inputBlock * lanes }

  /// Output blocks of group `group`.
  func blocks(ofGroup group: Int) -> Int { group < fullGroups ? tileBlocks : lastGroupBlocks }

  /// Pairs of an input and an output block before each group, and behind the last their number: the
  /// weights come in this order where one chunk holds all.
  var weightBlocksBefore: [Int] {
    (0..<groups).reduce(into: [0]) { sums, group in
      let inputs = windows?.counts[group] ?? inputBlocks
      sums.append((sums.last ?? 0) + inputs * blocks(ofGroup: group))
    }
  }

  /// Pairs of an input and an output block that weights are packed for.
  var weightBlocks: Int {
    windows == nil ? inputBlocks * outputBlocks : weightBlocksBefore.last ?? 0
  }
}

/// Depthwise convolution: one vector of channels, a row of pixels at a time.
struct DepthwiseSchedule: Hashable {
  var blocks: Int
  var tilePixels: Int
  var tiles: Int
  var wideTiles: Int
  /// Parts of a plane, so that few channels still make work for many threads.
  var bands: Int

  var tilePixelsMost: Int { wideTiles > 0 ? tilePixels + 1 : tilePixels }
  var unitsPerImage: Int { blocks * bands }
}

/// Convolution of plain images to plain images: vectors of one row's pixels, for a few outputs at once.
/// It serves what is too small to be brought into blocks.
struct PlainSchedule: Hashable {
  /// Outputs that share what is loaded; the last set of a group may have fewer.
  var outputsPerSet: Int
  var setsPerGroup: Int
  var sets: Int
  var rows: Int

  var unitsPerImage: Int { sets * rows }
}

enum ConvolutionSchedule: Hashable {
  case direct(DirectSchedule)
  case winograd(WinogradSchedule)
  case depthwise(DepthwiseSchedule)
  case plain(PlainSchedule)

  /// Independent units of work for a batch of `images`.
  func units(images: Dimension) -> WorkUnits {
    switch self {
    case .direct(let direct): WorkUnits(direct.unitsPerImage, times: images)
    case .winograd(let winograd):
      winograd.splitsTiles
        ? WorkUnits(winograd.tiles, times: images) : WorkUnits(fixed: winograd.sets)
    case .depthwise(let depthwise): WorkUnits(depthwise.unitsPerImage, times: images)
    case .plain(let plain): WorkUnits(plain.unitsPerImage, times: images)
    }
  }

  /// Chooses for `shape`; `isPlanar` says that the input has channel block 1, `isPlain` that the
  /// result has.
  /// - Parameters:
  ///   - images: those of the batch, where it is known.
  ///   - typicalBatch: the batch that the choice is best for, where any may come.
  ///   - preferred: taken instead of the cost model's choice wherever it can do the work.
  static func choose(
    _ shape: ConvolutionShape, isPlanar: Bool, isPlain: Bool = false, images: Dimension = .batch,
    typicalBatch: Int = 1, preferred: ConvolutionVariant? = nil, target: Target
  ) -> ConvolutionSchedule {
    if isPlain { return .plain(plain(shape)) }
    if shape.isDepthwise && !isPlanar { return .depthwise(depthwise(shape, target: target)) }
    let variant =
      preferred
      ?? ConvolutionVariant(
        ConvolutionCost.best(shape, images: images, typicalBatch: typicalBatch, target: target))
    guard !isPlanar, WinogradSchedule.fits(shape), let transform = variant.algorithm.transform
    else { return .direct(direct(shape, isPlanar: isPlanar, variant, target: target)) }
    return .winograd(
      WinogradSchedule(shape, transform: transform, variant, images: images, target: target))
  }

  /// Splits `count` into the fewest parts of at most `most`, as evenly as whole numbers allow:
  /// the first `wide` parts have one more than the others.
  static func balanced(_ count: Int, most: Int) -> (parts: Int, narrow: Int, wide: Int) {
    let parts = max(1, (count + most - 1) / most)
    return (parts, count / parts, count % parts)
  }

  /// Output blocks × pixels. Accumulators, the weights of one input channel and one broadcast must
  /// fit the registers (one more for the product without FMA), and each pixel takes an address
  /// register. 2 × 6 and 3 × 4 measured 91–98 % of the FMA peak on Zen 3, 1 × 12 only 75 %.
  /// - Parameter preferred: output blocks that are taken where ``tileChoices(target:)`` has them.
  static func tile(
    outputBlocks: Int, preferred: Int? = nil, target: Target
  ) -> (blocks: Int, pixels: Int) {
    let blocks: Int
    if let preferred, preferred <= outputBlocks, tileChoices(target: target).contains(preferred) {
      blocks = preferred
    } else if target.registers >= 32 {
      blocks =
        outputBlocks % 4 == 0 ? 4 : outputBlocks % 3 == 0 ? 3 : min(2, outputBlocks)
    } else {
      blocks = outputBlocks % 3 == 0 && outputBlocks % 2 != 0 ? 3 : min(2, outputBlocks)
    }
    return (blocks, tilePixels(blocks: blocks, target: target))
  }

  /// Output blocks of the register tiles that keep the multipliers busy.
  static func tileChoices(target: Target) -> [Int] { target.registers >= 32 ? [4, 3, 2] : [2, 3] }

  /// The most pixels of a register tile of 1 to 4 output blocks.
  private static func tilePixels(blocks: Int, target: Target) -> Int {
    if target.registers >= 32 { return blocks == 4 ? 6 : 8 }
    let needsProduct = !target.hasFusedMultiplyAdd
    switch blocks {
    case 1: return 8
    case 2: return needsProduct ? 5 : 6
    default: return needsProduct ? 3 : 4
    }
  }

  /// The tile of a grouped convolution and what it reads. A wide tile may reach over several groups,
  /// and then multiplies by zeros; a tile of one block is a quarter slower for the same work.
  private static func groupedTile(
    _ shape: ConvolutionShape, inputBlock: Int, outputBlocks: Int, target: Target
  ) -> (blocks: Int, pixels: Int, windows: InputWindows) {
    let widest = tile(outputBlocks: outputBlocks, target: target).blocks
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
      chosen, tilePixels(blocks: chosen, target: target),
      best?.windows ?? InputWindows(first: [], counts: [])
    )
  }

  /// Products that a register sums before it goes to memory, where one input block has no more.
  private static let mostTermsOfChunk = 144

  private static func direct(
    _ shape: ConvolutionShape, isPlanar: Bool, _ variant: ConvolutionVariant = .direct,
    target: Target
  ) -> DirectSchedule {
    let lanes = target.lanes
    let inputBlock = isPlanar ? 1 : lanes
    let allInputBlocks = (shape.channels + inputBlock - 1) / inputBlock
    let outputBlocks = (shape.outputs + lanes - 1) / lanes
    var (tileBlocks, mostPixels) = tile(
      outputBlocks: outputBlocks, preferred: variant.tileBlocks, target: target)
    var windows: InputWindows?
    if shape.groups > 1 {
      (tileBlocks, mostPixels, windows) = groupedTile(
        shape, inputBlock: inputBlock, outputBlocks: outputBlocks, target: target)
    }
    let groups = (outputBlocks + tileBlocks - 1) / tileBlocks
    let inputBlocks = windows?.widest ?? allInputBlocks
    let (tiles, narrow, wide) = balanced(shape.resultPixels, most: mostPixels)

    // A weight panel of one chunk and one group should stay in the first-level cache.
    let panelBytes =
      shape.window.kernel[0] * shape.window.kernel[1] * inputBlock * lanes
      * tileBlocks * 4
    // A chunk is summed in registers, then added to memory; few terms a chunk keep the rounding error
    // of thousands small. Also, where a 1x1 kernel runs over a large image, they keep the pixels of a
    // block of tiles in the second-level cache: alone, 256 -> 128 at 56x56 went from 68 to 96 GFLOP/s
    // of 104.
    // Windows that differ had better stay whole: several chunks would make each as wide as the widest.
    let isPointwise = shape.window.kernel == [1, 1]
    let isLarge = shape.resultPixels >= 28 * 28
    let blockTerms = shape.window.kernel[0] * shape.window.kernel[1] * inputBlock
    let areAlike = windows?.isUniform ?? true
    let mostBlocks = areAlike ? max(1, mostTermsOfChunk / blockTerms) : inputBlocks
    let (chunks, _, _) = balanced(
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
    let (blocks, _, _) = balanced(tiles, most: variant.blocking?.scaling(perBlock) ?? perBlock)

    let weightBytes = panelBytes / tileBlocks * outputBlocks * inputBlocks
    let lines = (panelBytes / 64 + tiles - 1) / tiles
    return DirectSchedule(
      inputBlock: inputBlock, inputBlocks: inputBlocks, windows: windows,
      outputBlocks: outputBlocks, tileBlocks: tileBlocks, tilePixels: narrow, tiles: tiles,
      wideTiles: wide, chunk: chunk, splitsTiles: splitsTiles,
      tilesPerBlock: (tiles + blocks - 1) / blocks,
      linesAhead: weightBytes > target.cacheBytes / 2 ? min(lines, 16) : 0,
      // A hardware prefetcher does not see the step from one block of channels to the next.
      inputLinesAhead: isPointwise && isLarge && shape.window.strides == [1, 1] && !isPlanar
        ? (mostPixels * lanes * 4 + 63) / 64 : 0)
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

  private static func plain(_ shape: ConvolutionShape) -> PlainSchedule {
    let outputs = min(4, shape.outputsPerGroup)
    let sets = (shape.outputsPerGroup + outputs - 1) / outputs
    return PlainSchedule(
      outputsPerSet: outputs, setsPerGroup: sets, sets: sets * shape.groups,
      rows: shape.resultHeight)
  }

  private static func depthwise(_ shape: ConvolutionShape, target: Target) -> DepthwiseSchedule {
    let blocks = (shape.channels + target.lanes - 1) / target.lanes
    let (tiles, narrow, wide) = balanced(
      shape.resultWidth, most: target.registers >= 32 ? 12 : 6)
    return DepthwiseSchedule(
      blocks: blocks, tilePixels: narrow, tiles: tiles, wideTiles: wide,
      bands: max(1, min(shape.resultHeight, (32 + blocks - 1) / blocks)))
  }
}
