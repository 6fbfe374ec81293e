// Negation of booleans. ONNX Not, opset 1; https://onnx.ai/onnx/operators/onnx__Not.html

import GraftDiagnostics
import GraftIR

/// y = 1 where x is 0, else 0; any shape.
///
/// - C1: x holds booleans.
public struct LogicalNot: ONNXExportable {
  public static let opcode: Opcode = "not"
  public static let group = OperatorGroup.arithmetic
  public static let summary = "logical not"
  public static let operands: [OperandRule] = [.required("x")]

  public var isElementwise: Bool { true }

  public init() {}
  public init(attributes: Attributes) throws {}

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require("C1", x.dtype == .bool, "x must be a bool tensor, found \(x)")
    return [TensorType(.bool, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard case .integer(let x)? = operands.first ?? nil else {
      throw GraftError(.invalidGraph, "x must be a bool tensor [C1]")
    }
    return [.integer(x.map { $0 == 0 ? 1 : 0 })]
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    (values.first ?? nil).map { [$0.map { $0 == 0 ? 1 : 0 }] }
  }

  public static let onnx = [
    ONNXBinding("Not") { _ in ImportedOperator(LogicalNot(), operands: [0]) }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { ExportedOperator("Not", inputs: [.operand(0)]) }
}
