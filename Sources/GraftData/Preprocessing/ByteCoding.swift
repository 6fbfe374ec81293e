// Rows of floats in which every value is one of 256, stored as bytes.

import GraftDiagnostics

/// A code of one byte for the values of an image's tensor: what each byte stands for.
public struct ByteCoding: Sendable {
  /// The values of the bytes 0 … 255, 256 for each channel, monotone in each.
  let values: [Float]
  private let channels: Int
  /// Whether a row has one channel after the other; otherwise, the channels of one pixel after those of
  /// another.
  private let isPlanar: Bool

  /// The bytes themselves as numbers, such as classes of pixels.
  public static let numbers = ByteCoding((0..<256).map(Float.init), channels: 1, isPlanar: true)

  init(_ values: [Float], channels: Int, isPlanar: Bool) {
    self.values = values
    self.channels = channels
    self.isPlanar = isPlanar
  }

  /// Writes the byte of each value of `row`, from which ``decode(_:into:)`` makes the same bits.
  /// - Throws: ``GraftError`` of kind `inconsistency` for a value that no byte stands for.
  public func encode(
    _ row: UnsafeBufferPointer<Float>, into bytes: UnsafeMutableBufferPointer<UInt8>
  ) throws {
    try values.withUnsafeBufferPointer { values in
      for channel in 0..<channels {
        let table = UnsafeBufferPointer(rebasing: values[(channel * 256)..<(channel * 256 + 256)])
        let rises = table[0] <= table[255]
        for index in positions(of: channel, in: row.count) {
          let wanted = row[index]
          var (low, high) = (0, 255)
          while low < high {
            let middle = (low + high) / 2
            if rises ? table[middle] < wanted : table[middle] > wanted {
              low = middle + 1
            } else {
              high = middle
            }
          }
          guard table[low] == wanted else {
            throw GraftError(.inconsistency, "\(wanted) is not the value of a pixel")
          }
          bytes[index] = UInt8(low)
        }
      }
    }
  }

  /// The inverse of ``encode(_:into:)``.
  public func decode(
    _ bytes: UnsafeBufferPointer<UInt8>, into row: UnsafeMutableBufferPointer<Float>
  ) {
    values.withUnsafeBufferPointer { values in
      for channel in 0..<channels {
        let table = UnsafeBufferPointer(rebasing: values[(channel * 256)..<(channel * 256 + 256)])
        for index in positions(of: channel, in: row.count) { row[index] = table[Int(bytes[index])] }
      }
    }
  }

  /// Where the values of a channel are in a row.
  private func positions(of channel: Int, in count: Int) -> StrideTo<Int> {
    let pixels = count / channels
    return isPlanar
      ? stride(from: channel * pixels, to: (channel + 1) * pixels, by: 1)
      : stride(from: channel, to: count, by: channels)
  }
}
