// mixup and CutMix of the images of a batch and their targets.

import Glibc
import GraftDiagnostics

/// How the images of a batch are mixed: mixup (Zhang et al. 2018), CutMix (Yun et al. 2019), or
/// each half of the time.
public struct BatchMixing: Hashable, Sendable {
  /// The parameter alpha of the beta distribution of mixup's weight, above 0; nil for no mixup.
  public var mixup: Double?
  /// The parameter alpha of the beta distribution of CutMix's area fraction, above 0; nil for no CutMix.
  public var cutmix: Double?

  public init(mixup: Double? = nil, cutmix: Double? = nil) {
    self.mixup = mixup
    self.cutmix = cutmix
  }

  /// Whether batches are unchanged.
  public var isNone: Bool { mixup == nil && cutmix == nil }

  /// The mixing of one batch: item i is mixed with item i − 1, the first with the last, as in torchvision.
  /// Batches are shuffled, so these are random pairs.
  public struct Recipe: Hashable, Sendable {
    /// The weight of an item's own image and target; its partner has 1 − share.
    public let share: Double
    /// The box that CutMix pastes from the partner; nil for mixup.
    let box: PixelRectangle?
  }

  /// The recipe for a batch, which depends only on these numbers.
  /// - Parameters:
  ///   - epoch, batch: from 0.
  ///   - size: the image size, for CutMix.
  public func recipe(
    seed: UInt64, epoch: Int, batch: Int, size: (height: Int, width: Int)
  ) -> Recipe {
    var draws = RandomDraws(.mixing, seed: seed, epoch: epoch, item: batch)
    let cuts = cutmix != nil && (mixup == nil || draws.unit() < 0.5)
    guard let alpha = cuts ? cutmix : mixup else { return Recipe(share: 1, box: nil) }
    let share = draws.beta(alpha)
    guard cuts else { return Recipe(share: share, box: nil) }
    let x = draws.integer(below: size.width)
    return .cutting(share, center: (x, draws.integer(below: size.height)), size)
  }
}

extension BatchMixing.Recipe {
  /// A box with 1 − `share` of the area around a pixel, clipped to the image; the share is adjusted to the
  /// clipped box.
  static func cutting(
    _ share: Double, center: (x: Int, y: Int), _ size: (height: Int, width: Int)
  ) -> Self {
    let half = 0.5 * (1 - share).squareRoot()
    let (halfWidth, halfHeight) = (Int(half * Double(size.width)), Int(half * Double(size.height)))
    let x = max(0, center.x - halfWidth)..<min(size.width, center.x + halfWidth)
    let y = max(0, center.y - halfHeight)..<min(size.height, center.y + halfHeight)
    return Self(
      share: 1 - Double(x.count * y.count) / Double(size.width * size.height),
      box: PixelRectangle(
        x: x.lowerBound, y: y.lowerBound, width: x.count, height: y.count))
  }

  /// Mixes a batch of images or other inputs.
  /// - Parameters:
  ///   - values: the concatenated items.
  ///   - layout, size: the layout and size of images, needed for a box.
  public func mix(
    _ values: inout [Float], count: Int, layout: Preprocessing.Layout?,
    size: (height: Int, width: Int)
  ) {
    guard count > 1 else { return }
    let width = values.count / count
    guard let box else { return mixRows(&values, count: count) }
    guard let layout else { return }
    var runs: [Range<Int>] = []
    layout.forEachRun(of: box, size: size, count: width) { runs.append($0) }
    values.withUnsafeMutableBufferPointer { values in
      // From the last item backward, so that each item's partner is still unmixed.
      let last = Array(values[(count - 1) * width..<count * width])
      for item in stride(from: count - 1, through: 0, by: -1) {
        for run in runs {
          for position in run {
            values[item * width + position] =
              item > 0 ? values[(item - 1) * width + position] : last[position]
          }
        }
      }
    }
  }

  /// Interpolates rows: targets, and inputs of mixup.
  public func mixRows(_ values: inout [Float], count: Int) {
    guard count > 1 else { return }
    let width = values.count / count
    let (own, other) = (Float(share), Float(1 - share))
    values.withUnsafeMutableBufferPointer { values in
      let last = Array(values[(count - 1) * width..<count * width])
      for item in stride(from: count - 1, through: 0, by: -1) {
        for position in 0..<width {
          let partner = item > 0 ? values[(item - 1) * width + position] : last[position]
          values[item * width + position] = partner * other + values[item * width + position] * own
        }
      }
    }
  }
}
