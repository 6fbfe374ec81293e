// Choosing between two tensors. ONNX Where, opsets 9, 16;
// https://onnx.ai/onnx/operators/onnx__Where.html

import GraftDiagnostics
import GraftIR

/// y = a where condition is not 0, else b, with multidirectional broadcasting.
///
/// - C1: condition holds booleans, and a and b have one element type.
/// - C2: the three shapes broadcast.
public struct Where: ONNXExportable {
  public static let opcode: Opcode = "where"
  public static let group = OperatorGroup.arithmetic
  public static let summary = "a where the condition is true, else b"
  public static let operands: [OperandRule] = [
    .required("condition"), .required("a"), .required("b"),
  ]

  public var isElementwise: Bool { true }

  public init() {}
  public init(attributes: Attributes) throws {}

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let condition = try operand(0, of: operands)
    let a = try operand(1, of: operands)
    let b = try operand(2, of: operands)
    try require(
      "C1", condition.dtype == .bool && a.dtype == b.dtype,
      "expected a bool condition and two tensors of one type, found \(condition), \(a) and \(b)")
    return [
      TensorType(a.dtype, try broadcast([condition.shape, a.shape, b.shape], label: "C2"))
    ]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 3, case .integer(let condition)? = operands[0] else {
      throw GraftError(.invalidGraph, "the condition must be a bool tensor [C1]")
    }
    switch (operands[1], operands[2]) {
    case (.float32(let a), .float32(let b)):
      return [.float32(try choose(condition, a, b, extents[0]))]
    case (.float64(let a), .float64(let b)):
      return [.float64(try choose(condition, a, b, extents[0]))]
    case (.integer(let a), .integer(let b)):
      return [.integer(try choose(condition, a, b, extents[0]))]
    default: throw GraftError(.invalidGraph, "a and b must have one element type [C1]")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard values.count == 3, let condition = values[0], let a = values[1], let b = values[2],
      let extents = try foldableExtents(types)?.first
    else { return nil }
    return [try choose(condition, a, b, extents)]
  }

  private func choose<Element>(
    _ condition: DenseTensor<Dimension>, _ a: DenseTensor<Element>, _ b: DenseTensor<Element>,
    _ extents: [Int]
  ) throws -> DenseTensor<Element> {
    let pairs = try broadcasting(a, b, to: extents) { ($0, $1) }
    let choices = try broadcasting(condition, condition, to: extents) { choice, _ in choice }
    return try DenseTensor(
      shape: extents,
      elements: zip(choices.elements, pairs.elements).map { $0 == 0 ? $1.1 : $1.0 })
  }

  public static let onnx = [
    ONNXBinding("Where", since: 9) { _ in ImportedOperator(Where(), operands: [0, 1, 2]) }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator("Where", inputs: [.operand(0), .operand(1), .operand(2)])
  }
}

extension Where: DifferentiableOperator {
  /// dy goes to the operand of each element; the condition has no gradient.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let condition = try builder.operand(0)
    let dy = try builder.incoming()
    let zero = try builder.scalar(0, like: dy)
    for index in [1, 2] where builder.wants(index) {
      let own = index == 1 ? [condition, dy, zero] : [condition, zero, dy]
      try builder.setGradient(of: index, summing: try builder.apply(Where(), own))
    }
  }
}
