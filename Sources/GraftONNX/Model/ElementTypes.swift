// ONNX's numbers for element types (TensorProto.DataType), and the IR's types for those that it has.

import GraftIR
import GraftOps

enum ElementTypes {
  /// The IR's type; nil if it has none.
  static func dtype(_ number: Int) -> DataType? { DataType(onnx: number) }

  /// ONNX's name, or the number in words.
  static func name(_ number: Int) -> String { DataType.onnxName(number) }

  static func number(of dtype: DataType) -> Int { dtype.onnxCode }
}
