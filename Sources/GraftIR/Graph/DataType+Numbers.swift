// Conversion between float32 values, in which data sets, features and training steps are stored, and the
// element types of a network's inputs and outputs.

import GraftDiagnostics

extension DataType {
  /// The largest n for which float32 represents all integers up to n: 2²⁴.
  public static let largestWholeFloat = 1 << 24

  /// The range of integers that can be converted from float32; nil for floating-point types.
  public var wholeNumbers: ClosedRange<Int>? {
    switch self {
    case .float64, .float32, .float16, .bfloat16: nil
    case .int64, .int32: -Self.largestWholeFloat...Self.largestWholeFloat
    case .uint64, .uint32: 0...Self.largestWholeFloat
    case .int16: Int(Int16.min)...Int(Int16.max)
    case .uint16: 0...Int(UInt16.max)
    case .int8: Int(Int8.min)...Int(Int8.max)
    case .uint8: 0...Int(UInt8.max)
    case .bool: 0...1
    }
  }

  /// `numbers` as elements of this type, little-endian; rounded to nearest between floating-point types.
  /// - Throws: ``GraftError`` of kind `invalidData` for a number that an integer type does not hold, or that
  ///   is beyond ``largestWholeFloat``.
  public func bytes(of numbers: [Float]) throws -> [UInt8] {
    guard self != .float32 else { return numbers.withUnsafeBytes { Array($0) } }
    guard let range = wholeNumbers else {
      return try TensorData(
        packing: numbers.map(Double.init), as: self, shape: [numbers.count]
      ).withUnsafeBytes { Array($0) }
    }
    let whole = try numbers.map { number in
      guard let whole = Int(exactly: number), range.contains(whole) else {
        throw GraftError(.invalidData, "\(number) is not a supported \(rawValue)")
      }
      return whole
    }
    return try TensorData(packing: whole, as: self, shape: [whole.count])
      .withUnsafeBytes { Array($0) }
  }

  /// The elements that `bytes` hold as float32, rounded where the type has more digits.
  /// - Throws: ``GraftError`` of kind `invalidData` for an integer beyond ``largestWholeFloat``.
  public func numbers(in bytes: [UInt8]) throws -> [Float] {
    let numbers = try TensorData(self, [bytes.count / byteCount], in: MemoryBytes(bytes)).floats()
    let largest = Float(Self.largestWholeFloat)
    guard isFloatingPoint || numbers.allSatisfy({ abs($0) <= largest }) else {
      throw GraftError(
        .invalidData,
        "\(rawValue) integers beyond \(Self.largestWholeFloat) are not supported")
    }
    return numbers
  }
}

extension Float {
  /// The bits of the nearest bfloat16, ties to even; a NaN keeps its upper half.
  public var bfloat16Bits: UInt16 {
    guard !isNaN else { return UInt16(bitPattern >> 16) }
    return UInt16(truncatingIfNeeded: (bitPattern &+ 0x7fff &+ (bitPattern >> 16 & 1)) >> 16)
  }
}
