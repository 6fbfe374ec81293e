// Conversion of numbers to the bytes of any element type.

import GraftDiagnostics

extension TensorData {
  /// Integers as elements of `dtype`.
  /// - Throws: ``GraftError`` of kind `unsupported` if one does not fit.
  public init(packing elements: [Int], as dtype: DataType, shape: [Int]) throws {
    func pack<Stored: FixedWidthInteger>(_: Stored.Type) throws -> [UInt8] {
      try Self.bytes(elements) { element in
        guard let stored = Stored(exactly: element) else {
          throw GraftError(.unsupported, "\(element) does not fit into \(dtype.rawValue)")
        }
        return stored.littleEndian
      }
    }
    let bytes: [UInt8]
    switch dtype {
    case .int64: bytes = try pack(Int64.self)
    case .int32: bytes = try pack(Int32.self)
    case .int16: bytes = try pack(Int16.self)
    case .int8: bytes = try pack(Int8.self)
    case .uint64: bytes = try pack(UInt64.self)
    case .uint32: bytes = try pack(UInt32.self)
    case .uint16: bytes = try pack(UInt16.self)
    case .uint8: bytes = try pack(UInt8.self)
    case .bool: bytes = elements.map { $0 == 0 ? 0 : 1 }
    case .float64, .float32, .float16, .bfloat16:
      try self.init(packing: elements.map(Double.init), as: dtype, shape: shape)
      return
    }
    try self.init(dtype, shape, in: MemoryBytes(bytes))
  }

  /// Numbers as elements of `dtype`, rounded to nearest; towards zero for integer types, as ONNX's
  /// Cast does.
  public init(packing elements: [Double], as dtype: DataType, shape: [Int]) throws {
    let bytes: [UInt8]
    switch dtype {
    case .float64: bytes = Self.bytes(elements) { $0.bitPattern.littleEndian }
    case .float32: bytes = Self.bytes(elements) { Float($0).bitPattern.littleEndian }
    case .float16: bytes = Self.bytes(elements) { Float16($0).bitPattern.littleEndian }
    case .bfloat16:
      bytes = Self.bytes(elements) { Float($0).bfloat16Bits.littleEndian }
    default:
      let integers = try elements.map { element in
        guard let integer = Int(exactly: element.rounded(.towardZero)) else {
          throw GraftError(.unsupported, "\(element) does not fit into \(dtype.rawValue)")
        }
        return integer
      }
      try self.init(packing: integers, as: dtype, shape: shape)
      return
    }
    try self.init(dtype, shape, in: MemoryBytes(bytes))
  }

  private static func bytes<Element, Stored: FixedWidthInteger>(
    _ elements: [Element], _ convert: (Element) throws -> Stored
  ) rethrows -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(elements.count * MemoryLayout<Stored>.size)
    for element in elements {
      let stored = try convert(element)
      Swift.withUnsafeBytes(of: stored) { bytes.append(contentsOf: $0) }
    }
    return bytes
  }
}
