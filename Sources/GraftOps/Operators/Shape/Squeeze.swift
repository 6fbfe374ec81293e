// Axes of extent 1 taken away. ONNX Squeeze, opsets 1, 11, 13 (axes as an input), 21;
// https://onnx.ai/onnx/operators/onnx__Squeeze.html

import GraftDiagnostics
import GraftIR

/// y has the elements of x and its shape without ``axes``.
///
/// - C1: axes are different axes of x, in ascending order.
/// - C2: each of them has extent 1 at every batch.
public struct Squeeze: UnitAxisChange {
  public static let opcode: Opcode = "squeeze"
  public static let summary = "removes axes of extent 1"
  public static let onnxName = "Squeeze"

  /// Counted from the front, ascending.
  public var axes: [Int]

  public init(axes: [Int]) { self.axes = axes }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireAxes("C1", axes, rank: x.rank)
    for axis in axes {
      try require("C2", x.shape[axis] == 1, "axis \(axis) of \(x) does not have extent 1")
    }
    let kept = x.shape.dimensions.indices.filter { !axes.contains($0) }
    return [TensorType(x.dtype, TensorShape(kept.map { x.shape[$0] }))]
  }

  public static let onnx = [
    ONNXBinding(onnxName, opsets: 1...12) { node in
      try read(node, axes: try node.optionalInts("axes"))
    },
    ONNXBinding(onnxName, since: 13) { node in
      try read(node, axes: try node.fixedIntegers(1, named: "axes"))
    },
  ]

  private static func read(_ node: ONNXNode, axes: [Int]?) throws -> ImportedOperator {
    let shape = try node.input(0).type.shape
    if let axes {
      return ImportedOperator(
        Squeeze(axes: try countFromFront(axes, rank: shape.rank)), operands: [0])
    }
    guard node.freedBatch != 1 || !shape.dependsOnBatch else {
      throw GraftError(.unsupported, "without axes it may remove the batch axis")
    }
    return ImportedOperator(
      Squeeze(axes: shape.dimensions.indices.filter { shape[$0] == 1 }), operands: [0])
  }
}

extension Squeeze: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    try builder.setGradient(of: 0, try builder.reshaped(try builder.incoming(), to: shape))
  }
}
