// A change of layout, and of nothing else. The layout pass puts it in and takes it out.

import GraftDiagnostics
import GraftIR

/// y = x in another layout: element type and shape stay, and the layout that the result's type states
/// is the one that the kernel writes.
public struct ConvertLayout: StructuralOperator {
  public static let opcode: Opcode = "convert_layout"
  public static let summary = "the same values in another layout"
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
    .conversion
  }
}
