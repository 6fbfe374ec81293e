// Variants of a convolution for tuning. Their results differ only by rounding; the first is the cost model's
// choice.

import GraftIR
import GraftOps

/// A variant of a convolution. Nil properties are the cost model's choice.
public struct ConvolutionVariant: Hashable, Codable, Sendable {
  /// The division of work among threads.
  public enum Split: String, Hashable, Codable, Sendable {
    /// Tiles of pixels.
    case tiles
    /// Groups of outputs.
    case outputs
  }

  /// The block size relative to the cost model's choice.
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

/// The properties that determine a convolution's speed: its extents and the layout of its input. Convolutions
/// with equal sites share measurements.
public struct ConvolutionSite: Hashable, Sendable, CustomStringConvertible {
  public let description: String

  /// Parses a site.
  public init(_ description: String) { self.description = description }

  /// - Parameters:
  ///   - isPlanar: whether the input has channel block 1.
  ///   - images: those of the batch.
  ///   - form: what else distinguishes it, such as its element type.
  init(
    _ shape: ConvolutionShape, isPlanar: Bool, images: Dimension, form: String? = nil
  ) {
    func extents(_ values: [Int]) -> String { values.map(String.init).joined(separator: "x") }
    let window = shape.window
    description =
      "\(images) of \(extents([shape.channels, shape.height, shape.width]))"
      + " to \(extents([shape.outputs, shape.resultHeight, shape.resultWidth]))"
      + ", kernel \(extents(window.kernel)), strides \(extents(window.strides))"
      + ", pads \(extents(window.pads)), dilations \(extents(window.dilations))"
      + ", groups \(shape.groups)" + (isPlanar ? ", planar" : "")
      + (form.map { ", \($0)" } ?? "")
  }
}

/// Overrides of the cost model for convolutions.
public struct ConvolutionChoices: Hashable, Sendable {
  /// The algorithm of every convolution that can use it.
  public var algorithm: ConvolutionAlgorithm?
  /// Variants of single convolutions, with the highest priority.
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
