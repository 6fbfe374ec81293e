// ONNX's numbers for element types (TensorProto.DataType), and the IR's types for those that it has.

import GraftIR

enum ElementTypes {
  private static let numbered: [(number: Int, name: String, dtype: DataType?)] = [
    (1, "FLOAT", .float32), (2, "UINT8", .uint8), (3, "INT8", .int8), (4, "UINT16", .uint16),
    (5, "INT16", .int16), (6, "INT32", .int32), (7, "INT64", .int64), (8, "STRING", nil),
    (9, "BOOL", .bool), (10, "FLOAT16", .float16), (11, "DOUBLE", .float64),
    (12, "UINT32", .uint32), (13, "UINT64", .uint64), (14, "COMPLEX64", nil),
    (15, "COMPLEX128", nil), (16, "BFLOAT16", .bfloat16), (17, "FLOAT8E4M3FN", nil),
    (18, "FLOAT8E4M3FNUZ", nil), (19, "FLOAT8E5M2", nil), (20, "FLOAT8E5M2FNUZ", nil),
    (21, "UINT4", nil), (22, "INT4", nil), (23, "FLOAT4E2M1", nil),
  ]

  /// The IR's type; nil where it has none.
  static func dtype(_ number: Int) -> DataType? {
    numbered.first { $0.number == number }?.dtype
  }

  /// ONNX's name, or the number in words.
  static func name(_ number: Int) -> String {
    numbered.first { $0.number == number }?.name ?? "element type \(number)"
  }

  static func number(of dtype: DataType) -> Int {
    numbered.first { $0.dtype == dtype }?.number ?? 0
  }
}
