// The ways in which one convolution can be computed, for who measures which is fastest. All give the same
// to rounding; the first is the cost model's.

import GraftIR
import GraftOps

/// One way to compute a convolution. What is nil is as the cost model would have it.
public struct ConvolutionVariant: Hashable, Codable, Sendable {
  /// What threads share.
  public enum Split: String, Hashable, Codable, Sendable {
    /// Tiles of pixels.
    case tiles
    /// Groups of outputs.
    case outputs
  }

  /// How much is done at a time before the next weights, beside what the cost model takes.
  public enum Blocking: String, Hashable, Codable, Sendable {
    case half, double

    func scaling(_ count: Int) -> Int { self == .half ? max(1, count / 2) : count * 2 }
  }

  public var algorithm: ConvolutionAlgorithm
  public var split: Split?
  /// Output blocks of a register tile.
  public var tileBlocks: Int?
  public var blocking: Blocking?

  enum CodingKeys: String, CodingKey {
    case algorithm, split, blocking
    case tileBlocks = "tile_blocks"
  }

  public init(
    _ algorithm: ConvolutionAlgorithm, split: Split? = nil, tileBlocks: Int? = nil,
    blocking: Blocking? = nil
  ) {
    self.algorithm = algorithm
    self.split = split
    self.tileBlocks = tileBlocks
    self.blocking = blocking
  }

  public static let direct = ConvolutionVariant(.direct)
}

extension ConvolutionVariant: CustomStringConvertible {
  public var description: String {
    var text = algorithm.rawValue
    if let split { text += ", threads split \(split.rawValue)" }
    if let tileBlocks { text += ", tile of \(tileBlocks) output blocks" }
    if let blocking { text += ", \(blocking.rawValue) the blocking" }
    return text
  }
}

/// What a convolution's speed depends on: its extents, and how its input lies. Convolutions that are alike in
/// this share what was measured.
public struct ConvolutionSite: Hashable, Sendable, CustomStringConvertible {
  public let description: String

  /// A site that was written down.
  public init(_ description: String) { self.description = description }

  /// - Parameters:
  ///   - isPlanar: whether the input has channel block 1.
  ///   - images: those of the batch.
  init(_ shape: ConvolutionShape, isPlanar: Bool, images: Dimension) {
    func extents(_ values: [Int]) -> String { values.map(String.init).joined(separator: "x") }
    let window = shape.window
    description =
      "\(images) of \(extents([shape.channels, shape.height, shape.width]))"
      + " to \(extents([shape.outputs, shape.resultHeight, shape.resultWidth]))"
      + ", kernel \(extents(window.kernel)), strides \(extents(window.strides))"
      + ", pads \(extents(window.pads)), dilations \(extents(window.dilations))"
      + ", groups \(shape.groups)" + (isPlanar ? ", planar" : "")
  }
}

/// Who decides how convolutions are computed, where it is not the cost model.
public struct ConvolutionChoices: Hashable, Sendable {
  /// The algorithm of every convolution that can use it.
  public var algorithm: ConvolutionAlgorithm?
  /// What single convolutions take before all else.
  public var variants: [ConvolutionSite: ConvolutionVariant]

  public init(
    _ algorithm: ConvolutionAlgorithm? = nil,
    variants: [ConvolutionSite: ConvolutionVariant] = [:]
  ) {
    self.algorithm = algorithm
    self.variants = variants
  }

  func variant(at site: ConvolutionSite) -> ConvolutionVariant? {
    variants[site] ?? algorithm.map { ConvolutionVariant($0) }
  }
}

/// All that a convolution's schedule is chosen from.
struct SiteShape: Hashable {
  var shape: ConvolutionShape
  /// Whether the input has channel block 1.
  var isPlanar: Bool
  /// Whether the result has.
  var isPlain: Bool
  var images: Dimension

  func schedule(_ variant: ConvolutionVariant?, target: Target) -> ConvolutionSchedule {
    ConvolutionSchedule.choose(
      shape, isPlanar: isPlanar, isPlain: isPlain, images: images, preferred: variant,
      target: target)
  }

  /// Variants that are worth measuring, no two with the same schedule: the cost model's first, then the most
  /// promising.
  /// - Parameter algorithm: the only one that is allowed; nil allows all.
  func contenders(
    algorithm: ConvolutionAlgorithm? = nil, target: Target
  ) -> [ConvolutionVariant] {
    let hasChoice = algorithm == nil && !isPlanar && WinogradSchedule.fits(shape)
    let best =
      hasChoice
      ? ConvolutionCost.best(shape, images: images, target: target) : algorithm ?? .direct
    let others = hasChoice ? ConvolutionAlgorithm.allCases.filter { $0 != best } : []
    let splits = [ConvolutionVariant.Split.outputs, .tiles]
    let blockings: [ConvolutionVariant.Blocking?] = [nil, .half, .double]
    let tiles = ConvolutionSchedule.tileChoices(target: target)

    var variants = ([best] + others).map { ConvolutionVariant($0) }
    variants += splits.map { ConvolutionVariant(best, split: $0) }
    variants += tiles.map { ConvolutionVariant(best, tileBlocks: $0) }
    for algorithm in [best] + others {
      for split in splits {
        for tile in tiles {
          for blocking in blockings {
            variants.append(
              ConvolutionVariant(
                algorithm, split: split, tileBlocks: tile, blocking: blocking))
          }
        }
      }
    }
    var seen = Set<ConvolutionSchedule>()
    return variants.filter { seen.insert(schedule($0, target: target)).inserted }
  }
}
