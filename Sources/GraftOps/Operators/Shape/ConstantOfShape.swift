// A tensor of one number. ONNX ConstantOfShape, opsets 9, 20, 21;
// https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html

import GraftDiagnostics
import GraftIR

/// y of the shape ``shape`` and the element type ``dtype``, ``value`` everywhere.
///
/// - C1: value is a number of the element type.
public struct ConstantOfShape: ONNXExportable {
  public static let opcode: Opcode = "constant_of_shape"
  public static let group = OperatorGroup.movement
  public static let summary = "a tensor filled with one value"
  public static let operands: [OperandRule] = []

  public var shape: TensorShape
  public var dtype: DataType
  public var value: ScalarConstant

  public init(shape: TensorShape, dtype: DataType, value: ScalarConstant) {
    self.shape = shape
    self.dtype = dtype
    self.value = value
  }

  public init(attributes: Attributes) throws {
    shape = try attributes.shape("shape")
    dtype = try attributes.type("dtype")
    value = try ScalarConstant(attributes["value"])
  }

  public var attributes: Attributes {
    ["shape": .shape(shape), "dtype": .type(dtype), "value": value.attribute]
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    try require(
      "C1", dtype.isFloatingPoint || value.whole != nil,
      "\(value.real) is not a valid \(dtype.rawValue)")
    return [TensorType(dtype, shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    if dtype.isFloatingPoint {
      return [.float64(DenseTensor(shape: extents[0], repeating: value.real))]
    }
    guard let whole = value.whole else {
      throw GraftError(.invalidGraph, "\(value.real) is not a valid \(dtype.rawValue) [C1]")
    }
    return [.integer(DenseTensor(shape: extents[0], repeating: Dimension(whole)))]
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard !dtype.isFloatingPoint, let whole = value.whole,
      let extents = try foldableExtents(types)
    else { return nil }
    return [DenseTensor(shape: extents[0], repeating: Dimension(whole))]
  }

  public static let onnx = [
    ONNXBinding("ConstantOfShape", since: 9) { node in
      guard let extents = try node.constantIntegers(0, named: "input") else {
        throw GraftError(.invalidModel, "input 0 is missing")
      }
      guard extents.allSatisfy({ $0.coefficient >= 0 }) else {
        throw GraftError(.invalidModel, "the shape \(TensorShape(extents)) has a negative extent")
      }
      let shape = TensorShape(extents)
      guard case .tensor(let value)? = node.attributes["value"] else {
        guard node.attributes["value"] == nil else {
          throw GraftError(.invalidModel, "attribute \"value\" must be a tensor")
        }
        return ImportedOperator(
          ConstantOfShape(shape: shape, dtype: .float32, value: .real(0)), operands: [])
      }
      return ImportedOperator(
        ConstantOfShape(shape: shape, dtype: value.dtype, value: try ScalarConstant(value)),
        operands: [])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    return ExportedOperator(
      "ConstantOfShape", attributes: [("value", .tensor(try value.data(dtype, shape: [1])))],
      inputs: [.shape(shape)])
  }
}
