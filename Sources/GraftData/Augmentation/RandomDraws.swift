// Counter-based random numbers: they depend on the seed, purpose, item and epoch, not on earlier draws or
// threads.

import Glibc
import GraftOps

/// A stream of random numbers of Philox4x32-10 (Salmon et al. 2011).
struct RandomDraws {
  /// The purpose of a stream. Separate streams ensure that adding an augmentation step does not change the
  /// draws of others.
  enum Purpose: UInt32 {
    case resizedCrop = 0x6175_6730
    case crop, flip, jitter, erase, mixing
  }

  private let key: (UInt32, UInt32)
  private let item: UInt32
  private let epoch: UInt32
  private let purpose: Purpose
  private var block: UInt32 = 0
  private var words: ArraySlice<UInt32> = []

  /// - Parameters:
  ///   - epoch: from 0; more generally the number of the view.
  ///   - item: an index in a data set, or the number of a batch.
  init(_ purpose: Purpose, seed: UInt64, epoch: Int, item: Int) {
    key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    self.item = UInt32(truncatingIfNeeded: item)
    self.epoch = UInt32(truncatingIfNeeded: epoch)
    self.purpose = purpose
  }

  private mutating func word() -> UInt32 {
    if let word = words.popFirst() { return word }
    words = Philox4x32.block(key: key, counter: (item, epoch, purpose.rawValue, block))[...]
    block &+= 1
    return words.popFirst() ?? 0
  }

  /// Uniform strictly between 0 and 1.
  mutating func unit() -> Double { (Double(word()) + 0.5) / 4_294_967_296 }

  /// Uniform between two numbers.
  mutating func uniform(_ range: ClosedRange<Double>) -> Double {
    range.lowerBound + (range.upperBound - range.lowerBound) * unit()
  }

  /// Uniform in 0 ..< `count`, off by less than count / 2³²; 0 where `count` is not positive.
  mutating func integer(below count: Int) -> Int {
    guard let count = UInt32(exactly: max(0, count)) else { return 0 }
    return Int(count.multipliedFullWidth(by: word()).high)
  }

  /// A standard normal number (Box and Muller 1958).
  mutating func normal() -> Double {
    let radius = (-2 * log(unit())).squareRoot()
    return radius * cos(2 * Double.pi * unit())
  }

  /// The logarithm of a sample of the gamma distribution with this shape and scale 1 (Marsaglia and Tsang
  /// 2000); the logarithm avoids underflow for small shapes.
  mutating func logGamma(shape: Double) -> Double {
    guard shape >= 1 else { return logGamma(shape: shape + 1) + log(unit()) / shape }
    let d = shape - 1 / 3.0
    let c = 1 / (9 * d).squareRoot()
    while true {
      let x = normal()
      let root = 1 + c * x
      guard root > 0 else { continue }
      let v = root * root * root
      if log(unit()) < 0.5 * x * x + d - d * v + d * log(v) { return log(d) + log(v) }
    }
  }

  /// A sample of Beta(alpha, alpha), in 0 ... 1.
  mutating func beta(_ alpha: Double) -> Double {
    let (a, b) = (logGamma(shape: alpha), logGamma(shape: alpha))
    return 1 / (1 + exp(b - a))
  }
}
