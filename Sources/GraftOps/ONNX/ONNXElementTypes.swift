// ONNX's numbers for element types, and the small constants that exported nodes take as inputs.

import GraftDiagnostics
import GraftIR

extension DataType {
  /// The element type that ONNX's `TensorProto.DataType` numbers `code`; nil if Graft has none.
  public init?(onnx code: Int) {
    guard let type = Self.onnxCodes.first(where: { $0.value == code })?.key else { return nil }
    self = type
  }

  /// The name that ONNX gives a type of `TensorProto.DataType`.
  public static func onnxName(_ code: Int) -> String {
    onnxNames.indices.contains(code) ? onnxNames[code] : "element type \(code)"
  }

  /// The number of `TensorProto.DataType` by its name; 0 where there is no such type.
  static func onnxCode(named name: String) -> Int { onnxNames.firstIndex(of: name) ?? 0 }

  private static let onnxNames = [
    "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL",
    "FLOAT16", "DOUBLE", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "UINT4", "INT4", "FLOAT4E2M1", "FLOAT8E8M0",
    "UINT2", "INT2",
  ]

  /// The number of `TensorProto.DataType`.
  public var onnxCode: Int { Self.onnxCodes[self] ?? 0 }

  private static let onnxCodes: [DataType: Int] = [
    .float32: 1, .uint8: 2, .int8: 3, .uint16: 4, .int16: 5, .int32: 6, .int64: 7, .bool: 9,
    .float16: 10, .float64: 11, .uint32: 12, .uint64: 13, .bfloat16: 16,
  ]
}

/// A scalar as an attribute, exact for integers and floats.
public enum ScalarConstant: Hashable, Sendable {
  case integer(Int)
  case real(Double)

  init(_ attribute: AttributeValue?) throws {
    switch attribute {
    case .int(let value): self = .integer(value)
    case .float(let value): self = .real(value)
    default: throw GraftError(.invalidGraph, "attribute \"value\" must be a number")
    }
  }

  /// The only element of `data`.
  init(_ data: TensorData) throws {
    guard data.elementCount == 1 else {
      throw GraftError(
        .invalidModel, "expected one element, found a tensor of shape \(data.shape)")
    }
    if data.dtype.isFloatingPoint {
      self = .real(data.doubles()[0])
    } else if let integers = data.integers() {
      self = .integer(integers[0])
    } else {
      throw GraftError(.unsupported, "an unsigned constant exceeds the largest signed integer")
    }
  }

  var attribute: AttributeValue {
    switch self {
    case .integer(let value): .int(value)
    case .real(let value): .float(value)
    }
  }

  /// The number in float64.
  public var real: Double {
    switch self {
    case .integer(let value): Double(value)
    case .real(let value): value
    }
  }

  /// The value as an integer; nil if it has a fraction.
  var whole: Int? {
    switch self {
    case .integer(let value): value
    case .real(let value): Int(exactly: value)
    }
  }

  /// A tensor of `shape` that holds the number `count` times.
  func data(_ dtype: DataType, shape: [Int]) throws -> TensorData {
    let count = try TensorShape(shape).extents(batch: 1).reduce(1, *)
    let bytes: [UInt8]
    switch dtype {
    case .float64: bytes = littleEndian(real.bitPattern)
    case .float32: bytes = littleEndian(Float(real).bitPattern)
    case .float16: bytes = littleEndian(Float16(real).bitPattern)
    case .bfloat16: bytes = littleEndian(UInt16(truncatingIfNeeded: Float(real).bitPattern >> 16))
    default:
      guard let whole else {
        throw GraftError(.invalidGraph, "\(real) is not a valid \(dtype.rawValue)")
      }
      bytes = Array(littleEndian(whole).prefix(dtype.byteCount))
    }
    return try TensorData(
      dtype, shape, in: MemoryBytes(Array(repeatElement(bytes, count: count).joined())))
  }
}

private func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

extension TensorData {
  /// A vector of int64, as ONNX takes axes and shapes.
  static func vector(_ values: [Int]) throws -> TensorData {
    try TensorData(values.map(Int64.init), shape: [values.count])
  }
}

extension ONNXNode {
  /// The one number of an input that must be a constant; nil if the input is absent.
  func constantScalar(_ index: Int, named name: String) throws -> ScalarConstant? {
    guard let input = optionalInput(index) else { return nil }
    if let data = input.data { return try ScalarConstant(data) }
    if let value = input.integers?.elements.first?.constant, input.integers?.elements.count == 1 {
      return .integer(value)
    }
    throw GraftError(
      .unsupported,
      "input \(name.quotedForDisplay) must be constant, but it is computed at run time")
  }

  /// The integers of an input that must be constants, none of them the batch.
  func fixedIntegers(_ index: Int, named name: String) throws -> [Int]? {
    guard let values = try constantIntegers(index, named: name) else { return nil }
    let constants = values.compactMap(\.constant)
    guard constants.count == values.count else {
      throw GraftError(
        .unsupported, "input \(name.quotedForDisplay) depends on the batch: \(values)")
    }
    return constants
  }

  /// The numbers of an input that must be known at compile time, such as scales; nil where it is absent.
  func constantReals(_ index: Int, named name: String) throws -> [Double]? {
    guard let input = optionalInput(index) else { return nil }
    guard let data = input.data else {
      throw GraftError(
        .unsupported,
        "input \(name.quotedForDisplay) must be constant, but it is computed at run time")
    }
    return data.doubles()
  }

  func optionalFloats(_ name: String) throws -> [Double]? {
    switch attributes[name] {
    case nil: return nil
    case .floats(let value): return value
    default:
      throw GraftError(
        .invalidModel, "attribute \(name.quotedForDisplay) must be a list of numbers")
    }
  }

  /// A required list attribute.
  func requiredInts(_ name: String) throws -> [Int] {
    guard let values = try optionalInts(name) else {
      throw GraftError(.invalidModel, "attribute \(name.quotedForDisplay) is missing")
    }
    return values
  }

  /// A boolean attribute, which ONNX stores as an integer.
  func flag(_ name: String, default fallback: Bool) throws -> Bool {
    try int(name, default: fallback ? 1 : 0) != 0
  }
}
