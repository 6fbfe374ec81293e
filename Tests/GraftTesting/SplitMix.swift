// Random numbers that are the same on every run.

/// Steele, Lea and Flood's SplitMix (2014).
public struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number drawn evenly from `range`.
  public mutating func number<Number: BinaryFloatingPoint>(
    in range: ClosedRange<Number> = -1...1
  ) -> Number where Number.RawSignificand: FixedWidthInteger {
    Number.random(in: range, using: &self)
  }
}
