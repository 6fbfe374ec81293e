// Shared code of operators whose result equals their operand.

import GraftIR

/// y = x: the element type, the shape and the elements stay.
public protocol PassThrough: StructuralOperator {}

extension PassThrough {
  public static var operands: [OperandRule] { [.required("x")] }
  public static var group: OperatorGroup { .movement }
  public var keepsValues: Bool { true }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] { [operands[0]] }
}
