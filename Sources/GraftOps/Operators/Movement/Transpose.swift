// Axes in another order. ONNX Transpose, opsets 1, 13, 21;
// https://onnx.ai/onnx/operators/onnx__Transpose.html

import GraftDiagnostics
import GraftIR

/// Axis i of y is axis permutation[i] of x.
///
/// - C1: permutation holds each axis of x once.
public struct Transpose: StructuralOperator, ONNXExportable {
  public static let opcode: Opcode = "transpose"
  public static let group = OperatorGroup.movement
  public static let summary = "permutes the axes"
  public static let operands: [OperandRule] = [.required("x")]

  public var permutation: [Int]

  public init(permutation: [Int]) { self.permutation = permutation }

  /// Matrices turned: the last two of `rank` axes, at least 2, swapped.
  public static func ofMatrices(rank: Int) -> Transpose {
    Transpose(permutation: Array(0..<(rank - 2)) + [rank - 1, rank - 2])
  }
  public init(attributes: Attributes) throws { permutation = try attributes.ints("permutation") }
  public var attributes: Attributes { ["permutation": .ints(permutation)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require(
      "C1", permutation.sorted() == Array(0..<x.rank),
      "\(permutation) is not a permutation of the axes of \(x)")
    return [TensorType(x.dtype, TensorShape(permutation.map { x.shape[$0] }))]
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    let strides = operands[0].strides
    let elements = try strided(
      operands[0].elements, offset: 0, strides: permutation.map { strides[$0] },
      extents: extents[0])
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  /// Channel blocks become channels in the last place, and the reverse, in one pass.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    switch permutation {
    case [0, 2, 3, 1]: .reducing
    case [0, 3, 1, 2]: .spreading
    default: .plain
    }
  }

  public static let onnx = [
    ONNXBinding("Transpose") { node in
      let rank = try node.input(0).type.rank
      let reversed = Array((0..<rank).reversed())
      return ImportedOperator(
        Transpose(permutation: try node.optionalInts("perm") ?? reversed), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "Transpose", attributes: [("perm", .ints(permutation))], inputs: [.operand(0)])
  }
}

extension Transpose {
  public var keepsValues: Bool { true }

  /// Two in a row merge; if only axes of extent 1 move, it is a reshape.
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    if permutation == Array(permutation.indices) { return .operand(0) }
    if let inner = try node.producer(ofOperand: 0, as: Transpose.self) {
      return .merge(Transpose(permutation: permutation.map { inner.permutation[$0] }))
    }
    guard let shape = node.type(ofOperand: 0)?.shape, movesOnlyOnes(shape) else { return nil }
    return .become(Reshape(shape: node.resultType.shape))
  }

  /// Whether the axes of extent other than 1 keep their order, so that no element moves.
  private func movesOnlyOnes(_ shape: TensorShape) -> Bool {
    let moved = permutation.filter { shape.dimensions.indices.contains($0) && shape[$0] != 1 }
    return moved == moved.sorted()
  }
}

extension Transpose: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    var inverse = permutation
    for (index, axis) in permutation.enumerated() { inverse[axis] = index }
    try builder.setGradient(
      of: 0, try builder.apply(Transpose(permutation: inverse), [try builder.incoming()]))
  }
}
