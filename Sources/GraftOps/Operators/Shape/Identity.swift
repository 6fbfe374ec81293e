// The same tensor. ONNX Identity, opsets 1, 13, 14, 16, 19, 21;
// https://onnx.ai/onnx/operators/onnx__Identity.html

import GraftIR

/// y = x, of any element type and shape.
public struct Identity: PassThrough, ONNXExportable {
  public static let opcode: Opcode = "identity"
  public static let summary = "x itself"

  public init() {}
  public init(attributes: Attributes) throws {}

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public var overwritableOperands: [Int] { [0] }
  public var isView: Bool { true }
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? { .operand(0) }

  public static let onnx = [
    ONNXBinding("Identity") { _ in ImportedOperator(Identity(), operands: [0]) }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator { ExportedOperator("Identity", inputs: [.operand(0)]) }
}

extension Identity: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    try builder.setGradient(of: 0, try builder.incoming())
  }
}
