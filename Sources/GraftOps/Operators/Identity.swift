// The same tensor. ONNX Identity, opsets 1, 13, 14, 16, 19, 21;
// https://onnx.ai/onnx/operators/onnx__Identity.html

import GraftDiagnostics
import GraftIR

/// y = x, of any element type and shape.
public struct Identity: StructuralOperator, ONNXExportable {
  public static let opcode: Opcode = "identity"
  public static let summary = "x itself"
  public static let operands: [OperandRule] = [.required("x")]

  public init() {}
  public init(attributes: Attributes) throws {}

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] { [operands[0]] }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public var overwritableOperands: [Int] { [0] }
  public var isView: Bool { true }

  public static let onnx = [
    ONNXBinding("Identity") { _ in ImportedOperator(Identity(), operands: [0]) }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { ExportedOperator("Identity", inputs: [.operand(0)]) }
}
