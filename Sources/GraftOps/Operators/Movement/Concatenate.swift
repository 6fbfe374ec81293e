// Tensors one after the other. ONNX Concat, opsets 4, 11, 13;
// https://onnx.ai/onnx/operators/onnx__Concat.html

import GraftDiagnostics
import GraftIR

/// y joins its operands along ``axis``.
///
/// - C1: axis is an axis of the operands, which have one rank and one element type.
/// - C2: all their other extents agree.
/// - C3: the extents along the axis add up to an integer or a multiple of the batch.
public struct Concatenate: StructuralOperator, ONNXExportable {
  public static let opcode: Opcode = "concat"
  public static let group = OperatorGroup.movement
  public static let summary = "concatenates tensors along an axis"
  public static let operands: [OperandRule] = [.variadic("x")]

  /// Counted from the front.
  public var axis: Int

  public init(axis: Int) { self.axis = axis }
  public init(attributes: Attributes) throws { axis = try attributes.int("axis") }
  public var attributes: Attributes { ["axis": .int(axis)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let first = try operand(0, of: operands)
    try require(
      "C1", (0..<first.rank).contains(axis), "axis \(axis) is not an axis of \(first)")
    var shape = first.shape
    for index in operands.indices.dropFirst() {
      let type = try operand(index, of: operands)
      try require(
        "C1", type.dtype == first.dtype && type.rank == first.rank,
        "operands must have one rank and element type, found \(first) and \(type)")
      for other in 0..<first.rank where other != axis {
        try require(
          "C2", type.shape[other] == first.shape[other],
          "operands must agree except on axis \(axis), found \(first) and \(type)")
      }
      guard let sum = shape[axis].adding(type.shape[axis]) else {
        throw GraftError(
          .invalidGraph, "\(shape[axis]) and \(type.shape[axis]) do not add up [C3]")
      }
      shape[axis] = sum
    }
    return [TensorType(first.dtype, shape)]
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    let outer = extents[0][..<axis].reduce(1, *)
    let inner = extents[0][(axis + 1)...].reduce(1, *)
    var elements: [Element] = []
    elements.reserveCapacity(extents[0].reduce(1, *))
    for row in 0..<outer {
      for x in operands {
        let count = x.shape[axis] * inner
        elements += x.elements[(row * count)..<((row + 1) * count)]
      }
    }
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    axis == 1 && results.first?.rank == 4 ? .blocked : .plain
  }

  public static let onnx = [
    ONNXBinding("Concat") { node in
      guard node.attributes["axis"] != nil || node.opset < 4 else {
        throw GraftError(.invalidModel, "attribute \"axis\" is missing")
      }
      let axis = try node.input(0).type.shape.axis(try node.int("axis", default: 1))
      return ImportedOperator(Concatenate(axis: axis), operands: Array(node.inputs.indices))
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "Concat", attributes: [("axis", .int(axis))],
      inputs: operands.indices.map { .operand($0) })
  }
}

extension Concatenate {
  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    guard permutation.indices.contains(axis) else { return nil }
    return PermutedOperator(Concatenate(axis: permutation[axis]), resultPermutation: permutation)
  }

  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    node.operandCount == 1 ? .operand(0) : nil
  }
}

extension Concatenate: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming()
    var start = 0
    for index in builder.node.operands.indices {
      guard let extent = builder.shape(of: try builder.operand(index))[axis].constant else {
        throw GraftError(.unsupported, "the gradient of a concatenation along the batch")
      }
      if builder.wants(index) {
        let slice = Slice(axes: [axis], starts: [start], extents: [extent], steps: [1])
        try builder.setGradient(of: index, try builder.apply(slice, [dy]))
      }
      start += extent
    }
  }
}
