// A tensor for inputs and outputs of a session, stored as the bytes that cross the binary interface.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A tensor of any element type: shape outermost axis first, elements in row-major order.
public struct Tensor: Sendable, Equatable {
  public private(set) var dtype: DataType
  public var shape: [Int]
  /// The elements, little-endian.
  public private(set) var bytes: [UInt8]

  /// - Throws: ``GraftError`` of kind `invalidData` if the bytes do not fill the shape.
  public init(_ dtype: DataType, shape: [Int], bytes: [UInt8]) throws {
    _ = try TensorData(dtype, shape, in: MemoryBytes(bytes))
    self.init(unchecked: dtype, shape, bytes)
  }

  init(unchecked dtype: DataType, _ shape: [Int], _ bytes: [UInt8]) {
    self.dtype = dtype
    self.shape = shape
    self.bytes = bytes
  }

  /// A tensor of float32.
  /// - Throws: ``GraftError`` of kind `invalidData` if the elements do not fill the shape.
  public init(shape: [Int], elements: [Float]) throws {
    try self.init(.float32, shape: shape, bytes: elements.withUnsafeBytes { Array($0) })
  }

  /// A tensor of int64.
  /// - Throws: ``GraftError`` of kind `invalidData` if the elements do not fill the shape.
  public init(shape: [Int], elements: [Int64]) throws {
    try self.init(.int64, shape: shape, bytes: elements.withUnsafeBytes { Array($0) })
  }

  public var rank: Int { shape.count }

  /// The elements as float32, rounded if the type is more precise. Assigning changes the type to float32.
  public var elements: [Float] {
    get {
      guard dtype == .float32 else { return (try? data.floats()) ?? [] }
      return [Float](unsafeUninitializedCapacity: bytes.count / 4) { floats, count in
        count = bytes.count / 4
        UnsafeMutableRawBufferPointer(floats).copyBytes(from: bytes[..<(4 * count)])
      }
    }
    set {
      dtype = .float32
      bytes = newValue.withUnsafeBytes { Array($0) }
    }
  }

  private var data: TensorData {
    get throws { try TensorData(dtype, shape, in: MemoryBytes(bytes)) }
  }

  /// The tensor converted to another type, rounding to nearest between floating-point types.
  /// - Throws: ``GraftError`` of kind `unsupported` for a conversion from floating-point to integer, or a
  ///   value out of range.
  public func converted(to type: DataType) throws -> Tensor {
    guard type != dtype else { return self }
    let data = try data
    let converted: TensorData
    if let integers = data.integers() {
      converted = try TensorData(packing: integers, as: type, shape: shape)
    } else {
      guard type.isFloatingPoint else {
        throw GraftError(
          .unsupported, "elements of type \(dtype.rawValue) cannot be read as \(type.rawValue)",
          advice: "Convert the array: x.astype(...).")
      }
      converted = try TensorData(packing: data.doubles(), as: type, shape: shape)
    }
    return Tensor(unchecked: type, shape, converted.withUnsafeBytes { Array($0) })
  }

  /// A result of the reference evaluator, converted to `type`.
  init(_ host: HostTensor, as type: DataType) throws {
    let data: TensorData
    switch host {
    case .integer(let tensor):
      let integers = tensor.elements.compactMap(\.constant)
      data = try TensorData(packing: integers, as: type, shape: tensor.shape)
    case .float32(let tensor) where type == .float32:
      data = try TensorData(tensor.elements, shape: tensor.shape)
    case .float32, .float64:
      data = try TensorData(packing: host.doubles ?? [], as: type, shape: host.shape)
    }
    self.init(unchecked: type, host.shape, data.withUnsafeBytes { Array($0) })
  }

  /// The tensor as an input of the reference evaluator.
  func host(_ precision: HostTensor.Precision) throws -> HostTensor {
    try HostTensor(data, precision: precision)
  }
}
