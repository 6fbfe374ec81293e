// The element types of the IR and their representation in memory, C and NumPy. Kernels compute in float32;
// elements of every type can be stored, moved, compared and cast, and integers serve as indices.

/// The type of one element.
public enum DataType: String, Hashable, Sendable, CaseIterable {
  case float64 = "f64"
  case float32 = "f32"
  case float16 = "f16"
  case bfloat16 = "bf16"
  case int64 = "i64"
  case int32 = "i32"
  case int16 = "i16"
  case int8 = "i8"
  case uint64 = "u64"
  case uint32 = "u32"
  case uint16 = "u16"
  case uint8 = "u8"
  case bool = "bool"

  /// The representation of an element in memory, C and NumPy.
  public struct Storage: Hashable, Sendable {
    /// Bytes of one element.
    public var byteCount: Int
    /// The C type that holds its bits: an integer type for the narrow floating-point ones.
    public var cType: String
    /// The constant of graft.h.
    public var constant: String
    /// The `descr` of a .npy file.
    public var numPy: String
  }

  public var storage: Storage {
    switch self {
    case .float64:
      Storage(byteCount: 8, cType: "double", constant: "GRAFT_FLOAT64", numPy: "<f8")
    case .float32:
      Storage(byteCount: 4, cType: "float", constant: "GRAFT_FLOAT32", numPy: "<f4")
    case .float16:
      Storage(byteCount: 2, cType: "unsigned short", constant: "GRAFT_FLOAT16", numPy: "<f2")
    case .bfloat16:
      // As ml_dtypes writes it.
      Storage(byteCount: 2, cType: "unsigned short", constant: "GRAFT_BFLOAT16", numPy: "<V2")
    case .int64:
      Storage(byteCount: 8, cType: "long long", constant: "GRAFT_INT64", numPy: "<i8")
    case .int32: Storage(byteCount: 4, cType: "int", constant: "GRAFT_INT32", numPy: "<i4")
    case .int16: Storage(byteCount: 2, cType: "short", constant: "GRAFT_INT16", numPy: "<i2")
    case .int8: Storage(byteCount: 1, cType: "signed char", constant: "GRAFT_INT8", numPy: "|i1")
    case .uint64:
      Storage(byteCount: 8, cType: "unsigned long long", constant: "GRAFT_UINT64", numPy: "<u8")
    case .uint32:
      Storage(byteCount: 4, cType: "unsigned", constant: "GRAFT_UINT32", numPy: "<u4")
    case .uint16:
      Storage(byteCount: 2, cType: "unsigned short", constant: "GRAFT_UINT16", numPy: "<u2")
    case .uint8:
      Storage(byteCount: 1, cType: "unsigned char", constant: "GRAFT_UINT8", numPy: "|u1")
    case .bool:
      Storage(byteCount: 1, cType: "unsigned char", constant: "GRAFT_BOOL", numPy: "|b1")
    }
  }

  /// Bytes of one element.
  public var byteCount: Int { storage.byteCount }

  public var isFloatingPoint: Bool {
    switch self {
    case .float64, .float32, .float16, .bfloat16: true
    default: false
    }
  }

  public var isInteger: Bool { !isFloatingPoint && self != .bool }

  /// Whether it has negative integers.
  public var isSigned: Bool {
    switch self {
    case .int64, .int32, .int16, .int8: true
    default: false
    }
  }
}
