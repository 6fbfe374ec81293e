// Elementwise sum of several tensors. ONNX Sum, opsets 6, 8 (broadcasting), 13;
// https://onnx.ai/onnx/operators/onnx__Sum.html

import GraftIR
import RealModule

/// y = x₀ + x₁ + … with multidirectional broadcasting; the importer reads a sum of two as Add.
public struct Sum: VariadicElementwise {
  public static let opcode: Opcode = "sum"
  public static let summary = "sum of several tensors with broadcasting"
  public static let onnxName = "Sum"

  public init() {}

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    a + b
  }
  public static func apply(_ a: Dimension, _ b: Dimension) -> Dimension? { a.adding(b) }

  public static let onnx = [
    ONNXBinding("Sum") { node in
      node.inputs.count == 2
        ? ImportedOperator(Add(), operands: [0, 1])
        : ImportedOperator(Sum(), operands: Array(node.inputs.indices))
    }
  ]
}

extension Sum {
  public static let keepsScores = true
  public static func neutral(at position: Int) -> Double? { 0 }

  /// Additions of two at a time, which kernels fuse.
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    guard node.operandCount > 1 else { return .operand(0) }
    let nodes = (1..<node.operandCount).map { index in
      SimplerNode(Add(), [index == 1 ? .operand(0) : .result(index - 2), .operand(index)])
    }
    return .nodes(nodes, summary: "a chain of additions")
  }
}

extension Sum: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming()
    for index in builder.node.operands.indices where builder.wants(index) {
      try builder.setGradient(of: index, summing: dy)
    }
  }
}
