// A NumPy array in memory: decoding, encoding and conversion of elements.

import GraftDiagnostics
import GraftIR

/// The contents of a .npy file.
public struct NPYArray: Hashable, Sendable {
  public let element: NPYElement
  public let shape: [Int]
  /// The elements in C order, little-endian.
  public let bytes: [UInt8]

  /// - Throws: ``GraftError`` of kind `invalidData` if the byte count does not match the shape.
  public init(element: NPYElement, shape: [Int], bytes: [UInt8]) throws {
    let header = try NPYHeader(element: element, shape: shape)
    guard header.byteCount == bytes.count else {
      throw GraftError(
        .invalidData,
        "\(bytes.count) bytes for an array of shape \(shape), "
          + "which needs \(header.byteCount)")
    }
    self.element = element
    self.shape = shape
    self.bytes = bytes
  }

  public init(_ values: [Float], shape: [Int]) throws {
    try self.init(
      element: .float32, shape: shape, bytes: values.withUnsafeBytes { Array($0) })
  }

  public init(_ values: [Int64], shape: [Int]) throws {
    try self.init(element: .int64, shape: shape, bytes: values.withUnsafeBytes { Array($0) })
  }

  /// Decodes a .npy file.
  /// - Throws: ``GraftError`` of kind `invalidData` that describes the problem.
  public init(decoding file: [UInt8]) throws {
    let length = try NPYHeader.headerLength(Array(file.prefix(12)))
    guard length <= file.count else {
      throw GraftError(.invalidData, "the file ends within its header")
    }
    let header = try NPYHeader(parsing: Array(file[..<length]))
    try header.check(fileSize: file.count)
    try self.init(
      element: header.element, shape: header.shape, bytes: Array(file[length...]))
  }

  /// Reads a whole .npy file. For large ones see ``NPYFile``.
  public init(contentsOf path: String) throws {
    let file = try NPYFile(path)
    try self.init(
      element: file.element, shape: file.shape,
      bytes: file.file.read(count: file.header.byteCount, at: file.header.dataOffset))
  }

  /// The array as a .npy file.
  public func encoded() throws -> [UInt8] {
    try NPYHeader(element: element, shape: shape).encoded() + bytes
  }

  /// The elements as float32, rounded if they are more precise.
  public func floats() -> [Float] { element.floats(bytes) }

  /// The elements as integers.
  /// - Throws: ``GraftError`` of kind `invalidData` if they are not of an integer type.
  public func integers() throws -> [Int] { try element.integers(bytes) }
}

extension NPYHeader {
  /// Checks that a file of this size contains exactly the elements.
  func check(fileSize: Int) throws {
    let found = fileSize - dataOffset
    guard found == byteCount else {
      throw GraftError(
        .invalidData,
        "\(found) bytes of elements, but shape \(shape) of \(element.storage.numPy) needs \(byteCount)",
        advice: found < byteCount ? "The file is truncated." : nil)
    }
  }
}

extension NPYElement {
  /// Whole elements as float32; an incomplete last element is ignored.
  func floats(_ bytes: [UInt8]) -> [Float] {
    switch self {
    case .float32: return convert(bytes, from: Float.self) { $0 }
    case .float64: return convert(bytes, from: Double.self) { Float($0) }
    case .float16: return convert(bytes, from: Float16.self) { Float($0) }
    case .int8: return convert(bytes, from: Int8.self) { Float($0) }
    case .int16: return convert(bytes, from: Int16.self) { Float($0) }
    case .int32: return convert(bytes, from: Int32.self) { Float($0) }
    case .int64: return convert(bytes, from: Int64.self) { Float($0) }
    case .uint8: return convert(bytes, from: UInt8.self) { Float($0) }
    case .uint16: return convert(bytes, from: UInt16.self) { Float($0) }
    case .uint32: return convert(bytes, from: UInt32.self) { Float($0) }
    case .uint64: return convert(bytes, from: UInt64.self) { Float($0) }
    case .bfloat16:
      return convert(bytes, from: UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .bool: return convert(bytes, from: UInt8.self) { $0 == 0 ? 0 : 1 }
    }
  }

  func integers(_ bytes: [UInt8]) throws -> [Int] {
    switch self {
    case .int8: return convert(bytes, from: Int8.self) { Int($0) }
    case .int16: return convert(bytes, from: Int16.self) { Int($0) }
    case .int32: return convert(bytes, from: Int32.self) { Int($0) }
    case .int64: return convert(bytes, from: Int64.self) { Int($0) }
    case .uint8: return convert(bytes, from: UInt8.self) { Int($0) }
    case .uint16: return convert(bytes, from: UInt16.self) { Int($0) }
    case .uint32: return convert(bytes, from: UInt32.self) { Int($0) }
    // Values out of range are never valid indices.
    case .uint64: return convert(bytes, from: UInt64.self) { Int(clamping: $0) }
    case .bool: return convert(bytes, from: UInt8.self) { $0 == 0 ? 0 : 1 }
    case .float16, .bfloat16, .float32, .float64:
      throw GraftError(
        .invalidData, "the elements are \(storage.numPy), expected integers",
        advice: "Save y.astype('int64').")
    }
  }

  private func convert<Stored, Result>(
    _ bytes: [UInt8], from type: Stored.Type, _ transform: (Stored) -> Result
  ) -> [Result] where Stored: BitwiseCopyable {
    bytes.withUnsafeBytes { raw in
      (0..<raw.count / MemoryLayout<Stored>.size).map {
        transform(raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Stored>.size, as: type))
      }
    }
  }
}
