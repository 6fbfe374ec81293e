// Transposing blocks of 16 × 16 bytes with vector instructions, for resizing images along rows.

/// Sixteen vectors of sixteen bytes.
struct ByteBlock {
  private typealias Row = SIMD16<UInt8>

  /// Writes the transpose of a block.
  /// - Parameters:
  ///   - source: The block's first row; rows are `sourceStride` bytes apart.
  ///   - target: The result's first row; rows are `targetStride` bytes apart.
  @inline(__always)
  static func transpose(
    _ source: UnsafeRawPointer, stride sourceStride: Int,
    into target: UnsafeMutableRawPointer, stride targetStride: Int
  ) {
    withUnsafeTemporaryAllocation(of: Row.self, capacity: 32) { rows in
      guard let first = rows.baseAddress else { return }
      for row in 0..<16 {
        (first + row).initialize(
          to: source.loadUnaligned(fromByteOffset: row * sourceStride, as: Row.self))
      }
      // Each round separates even from odd bytes of two rows whose indices differ in one bit, which swaps
      // that bit of the row index with the lowest bit of the column index; four rounds swap all bits.
      let second = first + 16
      round(first, second, bit: 1)
      round(second, first, bit: 2)
      round(first, second, bit: 4)
      round(second, first, bit: 8)
      for row in 0..<16 {
        target.storeBytes(of: first[row], toByteOffset: row * targetStride, as: Row.self)
      }
    }
  }

  @inline(__always)
  private static func round(
    _ source: UnsafeMutablePointer<Row>, _ target: UnsafeMutablePointer<Row>, bit: Int
  ) {
    for row in 0..<16 where row & bit == 0 {
      let pair = SIMD32(lowHalf: source[row], highHalf: source[row | bit])
      (target + row).initialize(to: pair.evenHalf)
      (target + (row | bit)).initialize(to: pair.oddHalf)
    }
  }
}
