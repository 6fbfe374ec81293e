// To a matrix. ONNX Flatten, opsets 1, 9, 11, 13, 21;
// https://onnx.ai/onnx/operators/onnx__Flatten.html

import GraftDiagnostics
import GraftIR

/// y [product of the axes before `axis`, product of the others], the elements in the same order.
///
/// - C1: axis is in 0…rank.
/// - C2: both products are integers or multiples of the batch.
public struct Flatten: ShapeChange {
  public static let opcode: Opcode = "flatten"
  public static let summary = "reshapes to a matrix"

  /// Counted from the front.
  public var axis: Int

  public init(axis: Int = 1) { self.axis = axis }
  public init(attributes: Attributes) throws { axis = try attributes.int("axis") }
  public var attributes: Attributes { ["axis": .int(axis)] }

  /// A batch there would be merged with later axes.
  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require(
      "C1", (0...x.rank).contains(axis), "axis \(axis) is outside 0…\(x.rank), the rank of \(x)")
    let dimensions = x.shape.dimensions
    guard let rows = TensorShape(Array(dimensions[..<axis])).elementCount,
      let columns = TensorShape(Array(dimensions[axis...])).elementCount
    else { throw GraftError(.invalidGraph, "\(x) cannot become a matrix at axis \(axis) [C2]") }
    return [TensorType(x.dtype, [rows, columns])]
  }

  public static let onnx = [
    ONNXBinding("Flatten") { node in
      let rank = try node.input(0).type.rank
      let axis = try node.int("axis", default: 1)
      guard axis >= -rank, axis <= rank else {
        throw GraftError(.invalidModel, "axis \(axis) is outside a tensor of rank \(rank)")
      }
      return ImportedOperator(Flatten(axis: axis < 0 ? axis + rank : axis), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator("Flatten", attributes: [("axis", .int(axis))], inputs: [.operand(0)])
  }
}

extension Flatten: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    try builder.setGradient(of: 0, try builder.reshaped(try builder.incoming(), to: shape))
  }
}
