// Which algorithm a convolution takes, by an estimate of what each costs on a target.

import GraftIR
import GraftOps

/// Which algorithm a convolution over blocks of channels takes.
public enum ConvolutionAlgorithm: String, Hashable, Codable, Sendable, CaseIterable {
  case direct
  /// F(2×2, 3×3).
  case winograd2
  /// F(4×4, 3×3).
  case winograd4

  var transform: WinogradTransform? {
    switch self {
    case .direct: nil
    case .winograd2: .two
    case .winograd4: .four
    }
  }
}

/// The time of a 3x3 convolution, estimated in vector multiply-adds, of which a core does as many in a second
/// whatever the target: so arithmetic, transforms and memory compare by numbers that hold everywhere.
enum ConvolutionCost {
  /// Bytes of weights that arrive from beyond the second-level cache in the time of one multiply-add.
  private static let streamedBytes = 3.0
  /// Transforming one vector costs as much as this many multiply-adds for each point.
  private static let inputTransform = 7.0
  private static let outputTransform = 5.0
  /// Winograd's algorithm must save this share of the time before weights of up to four times the size are
  /// worth it.
  private static let leastGain = 0.1

  /// Of one image: the kernel streams weights for each.
  static func direct(_ shape: ConvolutionShape, target: Target) -> Double {
    let lanes = target.lanes
    let depth = shape.channels / max(1, shape.groups)
    let inputs = shape.groups == 1 ? (depth + lanes - 1) / lanes * lanes : depth
    let outputs = (shape.outputs + lanes - 1) / lanes
    let weights = Double(shape.window.kernel.reduce(1, *) * inputs * outputs * lanes)
    return stream(weights / Double(lanes) * Double(shape.resultPixels), weights * 4, target)
  }

  /// Of one image among `images`, whose tiles share weights.
  static func winograd(_ schedule: WinogradSchedule, images: Int, target: Target) -> Double {
    let lanes = target.lanes
    let tiles = schedule.tiles * images
    // The narrower register tiles have one tile less; what is left over multiplies by nothing.
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

  /// Arithmetic, or the weights' way to it if that takes longer: they are prefetched.
  private static func stream(_ products: Double, _ bytes: Double, _ target: Target) -> Double {
    bytes > Double(target.cacheBytes) ? max(products, bytes / streamedBytes) : products
  }

  /// The algorithm with the least estimated time among those that can do the work.
  ///
  /// Both transforms keep the rounding error within a small multiple of a plain sum's (F(2) 0.6, F(4) 2.2
  /// times, measured against float64); larger ones are no contenders, since they do not.
  ///
  /// - Parameters:
  ///   - images: those of the batch, where it is known.
  ///   - typicalBatch: those that the choice is best for, where it is not.
  static func best(
    _ shape: ConvolutionShape, images: Dimension, typicalBatch: Int = 1, target: Target
  ) -> ConvolutionAlgorithm {
    guard WinogradSchedule.fits(shape) else { return .direct }
    let number = count(images, typicalBatch)
    var best = (algorithm: ConvolutionAlgorithm.direct, cost: direct(shape, target: target))
    best.cost *= 1 - leastGain
    for algorithm in ConvolutionAlgorithm.allCases {
      guard let transform = algorithm.transform else { continue }
      let schedule = WinogradSchedule(
        shape, transform: transform, images: images, target: target)
      let cost = winograd(schedule, images: number, target: target)
      if cost < best.cost { best = (algorithm, cost) }
    }
    return best.algorithm
  }

  private static func count(_ images: Dimension, _ typicalBatch: Int) -> Int {
    max(1, images.isBatch ? typicalBatch : images.coefficient)
  }

  /// What the convolutions of a network cost together.
  struct Total {
    private var chosen = 0.0
    private var fastest = 0.0

    /// How many times as long they take as with the algorithms of ``best(_:images:typicalBatch:target:)``.
    var slowdown: Double { fastest > 0 ? chosen / fastest : 1 }

    /// Adds a convolution of `images` images that is done by `schedule`.
    mutating func add(
      _ schedule: ConvolutionSchedule, _ shape: ConvolutionShape, images: Dimension,
      typicalBatch: Int, target: Target
    ) {
      let number = count(images, typicalBatch)
      let direct = direct(shape, target: target)
      func cost(_ winograd: WinogradSchedule) -> Double {
        ConvolutionCost.winograd(winograd, images: number, target: target)
      }
      switch schedule {
      case .winograd(let winograd): chosen += cost(winograd)
      case .direct, .depthwise, .plain: chosen += direct
      }
      let best = best(shape, images: images, typicalBatch: typicalBatch, target: target)
      fastest +=
        best.transform.map {
          cost(WinogradSchedule(shape, transform: $0, images: images, target: target))
        } ?? direct
    }
  }
}
