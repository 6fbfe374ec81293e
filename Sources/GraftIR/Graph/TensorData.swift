// The bytes of parameters by reference: an array, or a range of a mapped file, so that weights are not
// copied.

import Foundation
import GraftDiagnostics

/// Bytes at a stable address while they are referenced.
public protocol ByteSource: AnyObject, Sendable {
  var count: Int { get }
  /// Calls `body` with the bytes; the pointer is valid only during the call.
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result
  /// Releases memory if the bytes can be read again.
  func releasePages()
}

extension ByteSource {
  public func releasePages() {}
}

/// Bytes in memory of their own.
public final class MemoryBytes: ByteSource {
  private let bytes: [UInt8]
  public init(_ bytes: [UInt8]) { self.bytes = bytes }
  public var count: Int { bytes.count }
  public func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result { try bytes.withUnsafeBytes(body) }
}

/// Zeros, in pages that are never written and so take no memory.
final class ZeroBytes: ByteSource, @unchecked Sendable {
  // Unchecked because a pointer is not Sendable; nothing writes through it.
  private let bytes: UnsafeRawBufferPointer
  var count: Int { bytes.count }

  /// - Throws: ``GraftError`` of kind `machine` if the address space is exhausted.
  init(count: Int) throws {
    guard count > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let start = mmap(nil, count, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      start != MAP_FAILED
    else { throw GraftError(.machine, "there is not enough memory: \(count) bytes are needed") }
    bytes = UnsafeRawBufferPointer(start: start, count: count)
  }

  deinit {
    if let start = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    }
  }

  func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result { try body(bytes) }
}

/// A tensor's elements, dense, row-major and little-endian, in the element type of the file.
public struct TensorData: Sendable {
  public let dtype: DataType
  /// The extents, outermost first.
  public let shape: [Int]
  private let source: any ByteSource
  private let range: Range<Int>

  /// - Throws: ``GraftError`` of kind `invalidData` if `range` does not hold exactly the elements.
  public init(
    _ dtype: DataType, _ shape: [Int], in source: any ByteSource, range: Range<Int>? = nil
  ) throws {
    let range = range ?? 0..<source.count
    let expected = try TensorShape(shape).extents(batch: 1).reduce(1, *) * dtype.byteCount
    guard range.lowerBound >= 0, range.upperBound <= source.count, range.count == expected else {
      throw GraftError(
        .invalidData,
        "a \(dtype.rawValue)\(TensorShape(shape)) tensor needs \(expected) bytes, found "
          + "\(max(0, min(range.upperBound, source.count) - range.lowerBound))")
    }
    self.dtype = dtype
    self.shape = shape
    self.source = source
    self.range = range
  }

  /// Releases the pages of a mapped file; they are read again on the next access.
  public func releasePages() { source.releasePages() }

  /// Float32 elements in row-major order.
  public init(_ elements: [Float], shape: [Int]) throws {
    try self.init(
      .float32, shape, in: MemoryBytes(elements.withUnsafeBytes { Array($0) }))
  }

  /// Float32 zeros, which take no memory.
  /// - Throws: ``GraftError`` of kind `machine` if the address space is exhausted.
  public init(zeros shape: [Int]) throws {
    let count = try TensorShape(shape).extents(batch: 1).reduce(1, *)
    try self.init(.float32, shape, in: ZeroBytes(count: count * DataType.float32.byteCount))
  }

  /// Int64 elements in row-major order.
  public init(_ elements: [Int64], shape: [Int]) throws {
    try self.init(.int64, shape, in: MemoryBytes(elements.withUnsafeBytes { Array($0) }))
  }

  public var byteCount: Int { range.count }
  public var elementCount: Int { range.count / dtype.byteCount }

  /// The same elements under another shape; no byte is copied.
  /// - Throws: ``GraftError`` of kind `invalidData` if the shape has another number of elements.
  public func reshaped(to shape: [Int]) throws -> TensorData {
    try TensorData(dtype, shape, in: source, range: range)
  }

  /// The elements `elements`, in row-major order, as a tensor of shape `shape`; no byte is copied.
  /// - Throws: ``GraftError`` of kind `invalidData` if they are not there, or do not fill the shape.
  public func part(_ elements: Range<Int>, shape: [Int]) throws -> TensorData {
    guard elements.lowerBound >= 0, elements.upperBound <= elementCount else {
      throw GraftError(
        .invalidData, "elements \(elements) of a tensor of \(elementCount) were requested")
    }
    let start = range.lowerBound + elements.lowerBound * dtype.byteCount
    return try TensorData(
      dtype, shape, in: source, range: start..<(start + elements.count * dtype.byteCount))
  }

  /// Whether type, shape and bytes are equal.
  public func hasSameElements(as other: TensorData) -> Bool {
    guard dtype == other.dtype, shape == other.shape else { return false }
    if source === other.source, range == other.range { return true }
    return withUnsafeBytes { own in
      other.withUnsafeBytes { bytes in
        guard let start = own.baseAddress, let otherStart = bytes.baseAddress else { return true }
        return memcmp(start, otherStart, own.count) == 0
      }
    }
  }

  /// Calls `body` with the bytes, which may start at any alignment.
  public func withUnsafeBytes<Result>(
    _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    try source.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[range])) }
  }
}

extension TensorData {
  /// The elements as float32, rounded to nearest where the type is wider.
  public func floats() -> [Float] {
    switch dtype {
    case .float32: return load(Float.self) { $0 }
    case .float64: return load(Double.self) { Float($0) }
    case .float16: return load(UInt16.self) { Float(Float16(bitPattern: $0)) }
    case .bfloat16: return load(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .int64: return load(Int64.self) { Float($0) }
    case .int32: return load(Int32.self) { Float($0) }
    case .int16: return load(Int16.self) { Float($0) }
    case .int8: return load(Int8.self) { Float($0) }
    case .uint64: return load(UInt64.self) { Float($0) }
    case .uint32: return load(UInt32.self) { Float($0) }
    case .uint16: return load(UInt16.self) { Float($0) }
    case .uint8: return load(UInt8.self) { Float($0) }
    case .bool: return load(UInt8.self) { $0 == 0 ? 0 : 1 }
    }
  }

  /// The elements as float64.
  public func doubles() -> [Double] {
    switch dtype {
    case .float64: return load(Double.self) { $0 }
    case .int64: return load(Int64.self) { Double($0) }
    case .uint64: return load(UInt64.self) { Double($0) }
    case .int32: return load(Int32.self) { Double($0) }
    case .uint32: return load(UInt32.self) { Double($0) }
    default: return floats().map(Double.init)
    }
  }

  /// The elements as integers; nil if the type is a floating-point one or an element does not fit.
  public func integers() -> [Int]? {
    switch dtype {
    case .int64: return load(Int64.self) { Int($0) }
    case .int32: return load(Int32.self) { Int($0) }
    case .int16: return load(Int16.self) { Int($0) }
    case .int8: return load(Int8.self) { Int($0) }
    case .uint64:
      let all = load(UInt64.self) { Int(exactly: $0) }
      let known = all.compactMap(\.self)
      return known.count == all.count ? known : nil
    case .uint32: return load(UInt32.self) { Int($0) }
    case .uint16: return load(UInt16.self) { Int($0) }
    case .uint8: return load(UInt8.self) { Int($0) }
    case .bool: return load(UInt8.self) { $0 == 0 ? 0 : 1 }
    case .float64, .float32, .float16, .bfloat16: return nil
    }
  }

  private func load<Stored: BitwiseCopyable, Element>(
    _: Stored.Type, _ convert: (Stored) -> Element
  ) -> [Element] {
    withUnsafeBytes { bytes in
      let stride = MemoryLayout<Stored>.size
      return (0..<(bytes.count / stride)).map {
        convert(bytes.loadUnaligned(fromByteOffset: $0 * stride, as: Stored.self))
      }
    }
  }
}

extension Graph {
  /// Takes parameters that are equal to those of other graphs from them, so that they are in memory once.
  /// - Parameter known: the parameters of the graphs so far, by name.
  public mutating func shareParameters(_ known: inout [String: TensorData]) {
    for id in parameters {
      guard let name = self[id].name, var parameter = self[id].parameter,
        let data = parameter.data
      else { continue }
      guard let present = known[name], present.hasSameElements(as: data) else {
        known[name] = data
        continue
      }
      parameter.data = present
      self[id].definition = .parameter(parameter)
      data.releasePages()
    }
  }

  /// Releases the pages of the files that parameters are in.
  public func releaseWeightPages() {
    for id in parameters { self[id].parameter?.data?.releasePages() }
  }
}
