// The cost model of convolution algorithms.

import GraftIR
import GraftOps

/// The algorithm of a convolution on blocked channels. Both transforms keep the rounding error within a small
/// multiple of a direct sum's (F(2) 0.6, F(4) 2.2 times, measured against float64); larger ones do not and
/// are not candidates.
public enum ConvolutionAlgorithm: String, Hashable, Codable, Sendable, CaseIterable {
  case direct
  /// F(2×2, 3×3); of a 2×2 kernel, F(2×2, 2×2).
  case winograd2
  /// F(4×4, 3×3); of a 2×2 kernel, F(3×3, 2×2).
  case winograd4
  /// A direct sum by products of tiles (AMX).
  case matrixTiles = "matrix_tiles"

  /// Whether it is Winograd's.
  var isTransform: Bool { self == .winograd2 || self == .winograd4 }

  /// The transform for a kernel of `taps` × `taps`; nil for a direct sum, and for other kernels.
  func transform(taps: Int) -> WinogradTransform? {
    switch (self, taps) {
    case (.winograd2, 2): .twoOfTwo
    case (.winograd2, 3): .two
    case (.winograd4, 2): .threeOfTwo
    case (.winograd4, 3): .four
    default: nil
    }
  }
}

/// The time of a convolution, estimated in vector multiply-adds (``KernelSchedule/cost``).
enum ConvolutionCost {
  /// Bytes of weights that can be read from beyond the L2 cache in the time of one multiply-add.
  private static let streamedBytes = 3.0
  /// The cost of transforming one vector, in multiply-adds per point.
  private static let inputTransform = 7.0
  private static let outputTransform = 5.0
  /// The fraction of the time that Winograd's algorithm must save to justify weights of up to four times the
  /// size.
  static let leastGain = 0.1

  /// The cost of one image: the kernel reads all weights again for each.
  static func direct(_ shape: ConvolutionShape, target: Target) -> Double {
    let lanes = target.lanes
    let depth = shape.channels / max(1, shape.groups)
    let inputs = shape.groups == 1 ? (depth + lanes - 1) / lanes * lanes : depth
    let outputs = (shape.outputs + lanes - 1) / lanes
    return streaming(
      weights: shape.window.kernel.reduce(1, *) * inputs * outputs * lanes,
      pixels: shape.resultPixels, target: target)
  }

  /// The cost of one image for which every packed weight is multiplied with every pixel of the result.
  static func streaming(weights: Int, pixels: Int, target: Target) -> Double {
    stream(
      Double(weights) / Double(target.lanes) * Double(pixels), Double(weights) * 4, target)
  }

  /// The cost of one image among `images`, whose tiles share weights.
  static func winograd(_ schedule: WinogradSchedule, images: Int, target: Target) -> Double {
    let lanes = target.lanes
    let tiles = schedule.tiles * images
    // The narrower register tiles have one tile less; the remaining lanes are unused.
    let panels = (tiles + schedule.groupTiles - 1) / schedule.groupTiles
    let columns = max(tiles, panels * (schedule.groupTiles - 1))
    let weights = Double(schedule.weightFloats(lanes: lanes))
    let blocks = (tiles + schedule.blockTiles - 1) / schedule.blockTiles
    let products = stream(
      weights / Double(lanes) * Double(columns), weights * 4 * Double(blocks), target)
    let transforms =
      Double(schedule.inputBlocks) * inputTransform
      + Double(schedule.outputBlocks) * outputTransform
    return (products + transforms * Double(tiles * schedule.points)) / Double(images)
  }

  /// The maximum of the time of the arithmetic and of reading the weights, which are prefetched.
  private static func stream(_ products: Double, _ bytes: Double, _ target: Target) -> Double {
    bytes > Double(target.cacheBytes) ? max(products, bytes / streamedBytes) : products
  }
}
