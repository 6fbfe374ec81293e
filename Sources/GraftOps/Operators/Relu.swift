// Rectified linear unit. ONNX Relu, opsets 6, 13, 14; https://onnx.ai/onnx/operators/onnx__Relu.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = max(x, 0), elementwise, any shape; a NaN stays one.
///
/// - C1: x has a floating-point type.
public struct Relu: RealOperator, ONNXExportable {
  public static let opcode: Opcode = "relu"
  public static let summary = "max(x, 0)"
  public static let operands: [OperandRule] = [.required("x")]

  public init() {}
  public init(attributes: Attributes) throws {}

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require("C1", x.dtype.isFloatingPoint, "x must be a floating-point tensor, found \(x)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    [try tensor(0, of: operands).map { Activation.relu($0) }]
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public var overwritableOperands: [Int] { [0] }

  public static let onnx = [
    ONNXBinding("Relu") { _ in ImportedOperator(Relu(), operands: [0]) }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { ExportedOperator("Relu", inputs: [.operand(0)]) }
}
