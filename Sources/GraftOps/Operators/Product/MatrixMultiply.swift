// Matrix product as NumPy's matmul. ONNX MatMul, opsets 1, 9, 13;
// https://onnx.ai/onnx/operators/onnx__MatMul.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = a · b on the last two axes; the axes before them broadcast. A vector counts as one row (a) or
/// one column (b), and that axis is absent from the result.
///
/// Operands: a […, rows, depth]; b […, depth, columns].
///
/// - C1: a and b have one floating-point type and at least rank 1.
/// - C2: depth is constant and the same in both.
/// - C3: the leading axes broadcast.
public struct MatrixMultiply: RealOperator, ONNXExportable {
  public static let opcode: Opcode = "matmul"
  public static let group = OperatorGroup.matrix
  public static let summary = "matrix product over the last two axes"
  public static let operands: [OperandRule] = [
    .required("a", .factor), .required("b", .factor),
  ]

  public init() {}
  public init(attributes: Attributes) throws {}

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let a = try operand(0, of: operands)
    let b = try operand(1, of: operands)
    try requireReal("C1", a, "a")
    try require(
      "C1", a.rank >= 1 && b.rank >= 1 && a.dtype == b.dtype,
      "a and b must have one type and at least rank 1, found \(a) and \(b)")
    let (aShape, bShape) = (
      Self.asMatrix(a.shape.dimensions, row: true),
      Self.asMatrix(b.shape.dimensions, row: false)
    )
    let depth = aShape[aShape.count - 1]
    try require(
      "C2", depth == bShape[bShape.count - 2] && !depth.isBatch,
      "the inner extent must be constant and the same in both, found \(a) and \(b)")
    var shape = try broadcast(
      [TensorShape(aShape.dropLast(2)), TensorShape(bShape.dropLast(2))], label: "C3"
    ).dimensions
    if a.rank > 1 { shape.append(aShape[aShape.count - 2]) }
    if b.rank > 1 { shape.append(bShape[bShape.count - 1]) }
    return [TensorType(a.dtype, TensorShape(shape))]
  }

  /// A vector as a matrix of one row or one column; anything else as it is.
  private static func asMatrix<Extent: ExpressibleByIntegerLiteral>(
    _ shape: [Extent], row: Bool
  ) -> [Extent] {
    guard shape.count == 1 else { return shape }
    return row ? [1] + shape : shape + [1]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let a = try tensor(0, of: operands)
    let b = try tensor(1, of: operands)
    let aShape = Self.asMatrix(a.shape, row: true)
    let bShape = Self.asMatrix(b.shape, row: false)
    let (rows, depth) = (aShape[aShape.count - 2], aShape[aShape.count - 1])
    let columns = bShape[bShape.count - 1]
    let leading = Array(extents[0].dropLast((a.rank > 1 ? 1 : 0) + (b.rank > 1 ? 1 : 0)))
    let aStrides = broadcastStrides(of: Array(aShape.dropLast(2)), to: leading)
    let bStrides = broadcastStrides(of: Array(bShape.dropLast(2)), to: leading)
    var y: [Scalar] = []
    y.reserveCapacity(extents[0].reduce(1, *))
    forEachIndex(of: leading) { index in
      var (aMatrix, bMatrix) = (0, 0)
      for axis in index.indices {
        aMatrix += index[axis] * aStrides[axis]
        bMatrix += index[axis] * bStrides[axis]
      }
      let (aBase, bBase) = (aMatrix * rows * depth, bMatrix * depth * columns)
      for row in 0..<rows {
        for column in 0..<columns {
          var sum: Scalar = 0
          for k in 0..<depth {
            sum += a.elements[aBase + row * depth + k] * b.elements[bBase + k * columns + column]
          }
          y.append(sum)
        }
      }
    }
    return [try DenseTensor(shape: extents[0], elements: y)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let depth = optionalOperand(0, of: operands)?.shape.dimensions.last?.constant ?? 0
    return OperatorCost(multiplyAdds: saturatingProduct([elementCount(results.first), depth]))
  }

  public static let onnx = [
    ONNXBinding("MatMul") { _ in ImportedOperator(MatrixMultiply(), operands: [0, 1]) }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator("MatMul", inputs: [.operand(0), .operand(1)])
  }
}

extension MatrixMultiply: DifferentiableOperator {
  /// da = dy · bᵀ and db = aᵀ · dy for each pair of matrices, summed over the axes that repeat one.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let (a, b) = (try builder.operand(0), try builder.operand(1))
    let aShape = TensorShape(Self.asMatrix(builder.shape(of: a).dimensions, row: true))
    let bShape = TensorShape(Self.asMatrix(builder.shape(of: b).dimensions, row: false))
    let (rows, columns) = (aShape[aShape.rank - 2], bShape[bShape.rank - 1])
    let isVector = (a: builder.shape(of: a).rank == 1, b: builder.shape(of: b).rank == 1)
    let dy = try builder.incoming()
    let leading = builder.shape(of: dy).dimensions.dropLast(
      (isVector.a ? 0 : 1) + (isVector.b ? 0 : 1))
    let aMatrix = try builder.reshaped(a, to: aShape)
    let bMatrix = try builder.reshaped(b, to: bShape)
    if bShape.rank == 2 {
      return try buildGradient(ofRows: aMatrix, bMatrix, dy, &builder)
    }
    let dyMatrix = try builder.reshaped(dy, to: TensorShape(leading + [rows, columns]))
    if builder.wants(0) {
      let turned = try Self.transposed(bMatrix, &builder)
      try builder.setGradient(
        of: 0, summing: try builder.apply(MatrixMultiply(), [dyMatrix, turned]))
    }
    if builder.wants(1) {
      let turned = try Self.transposed(aMatrix, &builder)
      try builder.setGradient(
        of: 1, summing: try builder.apply(MatrixMultiply(), [turned, dyMatrix]))
    }
  }

  /// One matrix b for all rows of a: the gradients of a product of two matrices.
  private func buildGradient(
    ofRows a: ValueID, _ b: ValueID, _ dy: ValueID, _ builder: inout GradientBuilder
  ) throws {
    let (depth, columns) = (builder.shape(of: b)[0], builder.shape(of: b)[1])
    let leading = TensorShape(Array(builder.shape(of: a).dimensions.dropLast()))
    guard let rows = leading.elementCount else {
      throw GraftError(.unsupported, "the gradient of a product of \(builder.type(of: a))")
    }
    let dyRows = try builder.reshaped(dy, to: [rows, columns])
    if builder.wants(0) {
      let da = try builder.apply(Gemm(transposesB: true), [dyRows, b])
      try builder.setGradient(
        of: 0, try builder.reshaped(da, to: builder.shape(of: try builder.operand(0))))
    }
    if builder.wants(1) {
      let aRows = try builder.reshaped(a, to: [rows, depth])
      let db = try builder.apply(BatchOuterProduct(), [aRows, dyRows])
      try builder.setGradient(
        of: 1, try builder.reshaped(db, to: builder.shape(of: try builder.operand(1))))
    }
  }

  static func transposed(
    _ matrices: ValueID, _ builder: inout GradientBuilder
  ) throws -> ValueID {
    let rank = builder.shape(of: matrices).rank
    return try builder.apply(Transpose.ofMatrices(rank: rank), [matrices])
  }
}

extension MatrixMultiply {
  /// A channel is a column of a with its row of b, or a column of b, where b is one matrix.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    guard let a = relations.type(ofOperand: 0), let b = relations.type(ofOperand: 1), a.rank >= 2,
      b.rank == 2
    else { return }
    if let depth = relations.channels(ofOperand: 0, axis: a.rank - 1) {
      relations.unite(depth, relations.channels(ofOperand: 1, axis: 0))
    }
    for axis in 0..<(a.rank - 1) where !relations.isParameter(0) {
      relations.carry(axis: axis, axis: axis)
    }
    relations.set(relations.channels(ofOperand: 1, axis: 1), ofResult: 0, axis: a.rank - 1)
  }
}
