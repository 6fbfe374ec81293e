// The counter-based random numbers of training: what a step draws depends on the seed and on what it is
// drawn for, never on how many were drawn before or by which thread.

/// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
public enum Philox4x32 {
  /// Four random words for one key and counter.
  public static func block(
    key: (UInt32, UInt32), counter: (UInt32, UInt32, UInt32, UInt32)
  ) -> [UInt32] {
    var (c0, c1, c2, c3) = counter
    var (k0, k1) = key
    for _ in 0..<10 {
      let a = c0.multipliedFullWidth(by: 0xD251_1F53)
      let b = c2.multipliedFullWidth(by: 0xCD9E_8D57)
      (c0, c1, c2, c3) = (b.high ^ c1 ^ k0, b.low, a.high ^ c3 ^ k1, a.low)
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return [c0, c1, c2, c3]
  }
}
