// Axes of extent 1 put in. ONNX Unsqueeze, opsets 1, 11, 13 (axes as an input), 21;
// https://onnx.ai/onnx/operators/onnx__Unsqueeze.html

import GraftDiagnostics
import GraftIR

/// y has the elements of x and its shape with an extent 1 at each of ``axes``.
///
/// - C1: axes are different axes of y, in ascending order.
public struct Unsqueeze: UnitAxisChange {
  public static let opcode: Opcode = "unsqueeze"
  public static let summary = "inserts axes of extent 1"
  public static let onnxName = "Unsqueeze"

  /// Axes of the result, counted from the front, ascending.
  public var axes: [Int]

  public init(axes: [Int]) { self.axes = axes }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireAxes("C1", axes, rank: x.rank + axes.count)
    var dimensions = x.shape.dimensions
    for axis in axes { dimensions.insert(1, at: axis) }
    return [TensorType(x.dtype, TensorShape(dimensions))]
  }

  public static let onnx = [
    ONNXBinding(onnxName, opsets: 1...12) { node in
      try read(node, axes: try node.requiredInts("axes"))
    },
    ONNXBinding(onnxName, since: 13) { node in
      guard let axes = try node.fixedIntegers(1, named: "axes") else {
        throw GraftError(.invalidModel, "input 1 is missing")
      }
      return try read(node, axes: axes)
    },
  ]

  private static func read(_ node: ONNXNode, axes: [Int]) throws -> ImportedOperator {
    let rank = try node.input(0).type.rank + axes.count
    return ImportedOperator(Unsqueeze(axes: try countFromFront(axes, rank: rank)), operands: [0])
  }
}

extension Unsqueeze: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    try builder.setGradient(of: 0, try builder.reshaped(try builder.incoming(), to: shape))
  }
}
