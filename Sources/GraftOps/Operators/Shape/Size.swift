// The number of elements of a tensor. ONNX Size, opsets 1, 13, 19, 21;
// https://onnx.ai/onnx/operators/onnx__Size.html

import GraftDiagnostics
import GraftIR

/// y, a scalar of int64 = the number of elements of x, an integer or k · N.
///
/// - C1: the number is an integer or a multiple of the batch.
public struct Size: ONNXExportable {
  public static let opcode: Opcode = "size"
  public static let group = OperatorGroup.movement
  public static let summary = "the number of elements of a tensor"
  public static let operands: [OperandRule] = [.required("x")]
  public static let isCompileTimeOnly = true

  public init() {}
  public init(attributes: Attributes) throws {}

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    _ = try count(operand(0, of: operands))
    return [TensorType(.int64, [])]
  }

  private func count(_ x: TensorType) throws -> Dimension {
    guard let count = x.shape.elementCount else {
      throw GraftError(.invalidGraph, "the number of elements of \(x) is not known [C1]")
    }
    return count
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard let x = operands.first ?? nil else {
      throw GraftError(.invalidGraph, "operand 0 is missing")
    }
    return [.integer(DenseTensor(scalar: Dimension(x.shape.reduce(1, *))))]
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    [DenseTensor(scalar: try count(operand(0, of: types)))]
  }

  public static let onnx = [
    ONNXBinding("Size") { _ in ImportedOperator(Size(), operands: [0]) }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { ExportedOperator("Size", inputs: [.operand(0)]) }
}
