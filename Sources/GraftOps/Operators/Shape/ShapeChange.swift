// Shared code of operators that only change the shape: in plain layout the result shares the
// operand's memory. Each operator's file defines the shape.

import GraftIR

/// y has the elements of x in the same order under another shape.
public protocol ShapeChange: StructuralOperator, ONNXExportable {}

extension ShapeChange {
  public static var operands: [OperandRule] { [.required("x")] }
  public static var group: OperatorGroup { .movement }
  public var keepsValues: Bool { true }

  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    node.keepsType ? .operand(0) : .become(Reshape(shape: node.resultType.shape))
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    [try DenseTensor(shape: extents[0], elements: operands[0].elements)]
  }

  public var overwritableOperands: [Int] { [0] }
  public var isView: Bool { true }
}

/// A change of shape that only inserts or removes axes of extent 1.
public protocol UnitAxisChange: ShapeChange {
  static var onnxName: String { get }
  /// The axes of extent 1 that are added or removed, counted from the front of the shape that has them,
  /// ascending.
  var axes: [Int] { get }
  init(axes: [Int])
}

extension UnitAxisChange {
  public init(attributes: Attributes) throws {
    self.init(axes: try attributes.ints("axes"))
  }
  public var attributes: Attributes { ["axes": .ints(axes)] }
  public func axesWorkedAlong(rank: Int) -> [Int] { axes }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(Self.onnxName, inputs: [.operand(0), .constant(try .vector(axes))])
  }
}
