// mixup and CutMix: images of a batch mixed with each other, and their targets likewise.

import Glibc
import GraftDiagnostics

/// How the images of a batch are mixed: mixup (Zhang et al. 2018), CutMix (Yun et al. 2019), or
/// each half of the time.
public struct BatchMixing: Hashable, Sendable {
  /// The parameter of the beta distribution that mixup's share is drawn from; nil for no mixup.
  public var mixup: Double?
  /// The same for CutMix's share of the area.
  public var cutmix: Double?

  public init(mixup: Double? = nil, cutmix: Double? = nil) {
    self.mixup = mixup
    self.cutmix = cutmix
  }

  /// Whether batches stay as they are.
  public var isNone: Bool { mixup == nil && cutmix == nil }

  /// What happens to one batch: item i is mixed with item i − 1, the first with the last, as
  /// torchvision does. Batches come in a random order, so these are random pairs.
  public struct Recipe: Hashable, Sendable {
    /// The fraction of an item's own image and target; 1 less it is its partner's.
    public let share: Double
    /// What CutMix puts in from the partner; nil for mixup.
    let box: PixelRectangle?
  }

  /// The recipe for a batch, which depends on these numbers alone.
  /// - Parameters:
  ///   - epoch, batch: from 0.
  ///   - size: of the images, in which CutMix cuts.
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
  /// A box of 1 − `share` of the area around a pixel, as far as it is in the image; the share
  /// becomes what is left.
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

  /// Mixes a batch of images or other numbers.
  /// - Parameters:
  ///   - values: the items one after the other.
  ///   - layout, size: of images, needed where a box is cut.
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
      // From the last item on, each takes from the one before it, which is still as it was.
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

  /// Mixes rows by their shares: targets, and what mixup mixes.
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
