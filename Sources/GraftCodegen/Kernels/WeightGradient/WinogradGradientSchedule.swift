// How the gradient of a 3x3 convolution's weights is computed by Winograd's algorithm, and what that costs
// beside the direct way.

import GraftIR
import GraftOps

/// With outputs = A · ((G · w · Gᵀ) ⊙ (B · x · Bᵀ)) · Aᵀ for each tile, the gradient of w is
/// Gᵀ · (Σ over tiles of (B · x · Bᵀ) ⊙ (Aᵀ · dy · A)) · G: a product of matrices for each point, summed over
/// tiles, of which there are fewer than pixels.
///
/// A unit owns one row of points for a set of inputs and a set of outputs, over all tiles: no sum is shared
/// between threads, so they do not change it. It transforms a block of tiles, multiplies, and adds to what
/// its results, which stay in the L2 cache, already are.
struct WinogradGradientSchedule: Hashable {
  var tiling: WinogradTiling
  /// Input blocks, and outputs, of a register tile.
  var tileBlocks: Int
  var tileOutputs: Int
  /// Input blocks, all or whole register tiles, and output blocks of a unit.
  var setInputs: Int
  var setOutputs: Int
  /// Image tiles that are transformed at a time.
  var blockTiles: Int

  var transform: WinogradTransform { tiling.transform }
  var inputBlocks: Int { tiling.inputBlocks }
  var outputBlocks: Int { tiling.outputBlocks }
  var side: Int { tiling.side }
  var tiles: Int { tiling.tiles }
  var inputSets: Int { (inputBlocks + setInputs - 1) / setInputs }
  var outputSets: Int { (outputBlocks + setOutputs - 1) / setOutputs }
  var units: Int { side * inputSets * outputSets }

  /// Floats of a block of channels of the transformed tiles of one point; a line more than there are
  /// tiles, for a power of two would put all blocks into one cache set.
  func blockFloats(lanes: Int) -> Int { (blockTiles + 1) * lanes }

  /// What one thread needs beside activations.
  func scratchFloats(lanes: Int) -> Int {
    side * (setInputs + setOutputs) * blockFloats(lanes: lanes)
  }

  /// Floats of one point's results: [output][input block][lane], and a line, as above.
  func pointFloats(lanes: Int) -> Int { outputBlocks * inputBlocks * lanes * lanes + 16 }

  /// All points' results.
  func resultFloats(lanes: Int) -> Int { side * side * pointFloats(lanes: lanes) }

  func description(lanes: Int) -> String {
    let step = transform.step
    return
      "Winograd F(\(step)x\(step), 3x3), \(blockTiles) of an image's \(tiles) tiles at a time, "
      + "register tile of \(tileBlocks * lanes) channels x \(tileOutputs) outputs, threads split rows "
      + "of points for \(inputSets) x \(outputSets) sets of \(setInputs * lanes) channels x "
      + "\(setOutputs * lanes) outputs"
  }

  /// The cost of transforming one row of points of one tile of x, and of dy, in vector multiply-adds.
  private static let inputTransform = 56.0
  private static let gradientTransform = 40.0
  /// The cost of one vector of results: written, read, transformed back, and stored lane by lane.
  private static let resultCost = 12.0

  /// The estimated time for `images` images, in vector multiply-adds.
  func cost(images: Int, lanes: Int) -> Double {
    let results = Double(side * inputBlocks * outputBlocks * lanes)
    let transforms =
      Double(inputBlocks * outputSets) * Self.inputTransform
      + Double(outputBlocks * inputSets) * Self.gradientTransform
    // Results are loaded and stored once for each block of tiles.
    let products = results * (1 + 2 / Double(min(blockTiles, tiles * images)))
    return Double(side)
      * (Double(tiles * images) * (products + transforms)
        + results * Self.resultCost)
  }

  /// - Parameters:
  ///   - tileBlocks: input blocks of a register tile.
  ///   - tileOutputs: its outputs, a divisor of the lanes.
  ///   - images: those of the batch, or what is typical.
  init(
    _ shape: ConvolutionShape, transform: WinogradTransform, tileBlocks: Int, tileOutputs: Int,
    images: Int, target: Target
  ) {
    let lanes = target.lanes
    let tiling = WinogradTiling(shape, transform: transform, lanes: lanes)
    let (inputBlocks, outputBlocks) = (tiling.inputBlocks, tiling.outputBlocks)
    self.tiling = tiling
    self.tileBlocks = tileBlocks
    self.tileOutputs = tileOutputs
    (setInputs, setOutputs, blockTiles) = (1, 1, 16)
    // Results and transformed tiles of a unit stay in the L2 cache.
    var best = (schedule: self, cost: Double.infinity)
    let most = target.cacheBytes * 3 / 4 / MemoryLayout<Float>.size
    let inputGroups = (inputBlocks + tileBlocks - 1) / tileBlocks
    for inputs in Self.sets(of: inputGroups).map({ min($0 * tileBlocks, inputBlocks) }) {
      for outputs in Self.sets(of: outputBlocks) {
        for tiles in [16, 32, 64, 128] {
          (setInputs, setOutputs, blockTiles) = (inputs, outputs, tiles)
          let results = side * inputs * outputs * lanes * lanes
          guard results + scratchFloats(lanes: lanes) <= most else { continue }
          let cost = cost(images: images, lanes: lanes)
          if cost < best.cost { best = (self, cost) }
        }
      }
    }
    self = best.schedule
  }

  /// The sizes that `blocks` can be split into evenly, each once.
  private static func sets(of blocks: Int) -> [Int] {
    var sizes: [Int] = []
    for sets in 1...blocks {
      let size = (blocks + sets - 1) / sets
      if size != sizes.last { sizes.append(size) }
    }
    return sizes
  }
}
