// General matrix product. ONNX Gemm, opsets 7, 9, 11 (C optional), 13;
// https://onnx.ai/onnx/operators/onnx__Gemm.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = activation(alpha · A′ · B′ + beta · C + residual), where A′ is A or its transpose, and B′ likewise.
///
/// Operands: A′ [rows, depth]; B′ [depth, columns]; C broadcasts to [rows, columns]; residual of the result's
/// shape.
///
/// - C1: A, B and C have one floating-point type; A and B have rank 2.
/// - C2: depth is constant and the same in A′ and B′.
/// - C3: C broadcasts to the result.
/// - C4: alpha and beta are numbers.
/// - C5: residual has the result's type.
public struct Gemm: RealOperator, ONNXExportable, ActivationFusing {
  public static let opcode: Opcode = "gemm"
  public static let group = OperatorGroup.matrix
  public static let summary =
    "alpha · A · B + beta · C, with an optional residual and activation"
  public static let operands: [OperandRule] = [
    .required("a", .factor), .required("b", .factor), .optional("c", .bias),
    .optional("residual", .residual),
  ]

  public var alpha: Double
  public var beta: Double
  public var transposesA: Bool
  public var transposesB: Bool
  public var activation: Activation

  public init(
    alpha: Double = 1, beta: Double = 1, transposesA: Bool = false, transposesB: Bool = false,
    activation: Activation = .none
  ) {
    self.alpha = alpha
    self.beta = beta
    self.transposesA = transposesA
    self.transposesB = transposesB
    self.activation = activation
  }

  public init(attributes: Attributes) throws {
    alpha = try attributes.float("alpha", default: 1)
    beta = try attributes.float("beta", default: 1)
    transposesA = try attributes.bool("transposes_a", default: false)
    transposesB = try attributes.bool("transposes_b", default: false)
    activation = try attributes.activation()
  }

  public var attributes: Attributes {
    var attributes = Attributes()
    if alpha != 1 { attributes["alpha"] = .float(alpha) }
    if beta != 1 { attributes["beta"] = .float(beta) }
    if transposesA { attributes["transposes_a"] = .bool(true) }
    if transposesB { attributes["transposes_b"] = .bool(true) }
    attributes.set(activation)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let a = try operand(0, of: operands)
    let b = try operand(1, of: operands)
    try requireReal("C1", a, "a")
    try require(
      "C1", a.rank == 2 && b.rank == 2 && a.dtype == b.dtype,
      "A and B must be matrices of one type, found \(a) and \(b)")
    let depths = [a.shape[transposesA ? 0 : 1], b.shape[transposesB ? 1 : 0]]
    try require(
      "C2", depths[0] == depths[1] && !depths[0].isBatch,
      "the inner extent must be constant and the same in A and B, found \(depths[0]) and \(depths[1])"
    )
    let shape: TensorShape = [a.shape[transposesA ? 1 : 0], b.shape[transposesB ? 0 : 1]]
    if let c = optionalOperand(2, of: operands) {
      let fits =
        c.dtype == a.dtype && c.rank <= 2
        && zip(c.shape.dimensions.reversed(), shape.dimensions.reversed())
          .allSatisfy { $0 == 1 || $0 == $1 }
      try require("C3", fits, "C must broadcast to \(a.dtype.rawValue)\(shape), found \(c)")
    }
    try require("C4", !alpha.isNaN && !beta.isNaN, "alpha is \(alpha), beta is \(beta)")
    let result = TensorType(a.dtype, shape)
    if let residual = optionalOperand(3, of: operands) {
      try require(
        "C5", residual.dtype == result.dtype && residual.shape == result.shape,
        "residual must be \(result), found \(residual)")
    }
    return [result]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let a = try tensor(0, of: operands)
    let b = try tensor(1, of: operands)
    let c = optionalTensor(2, of: operands)
    let residual = optionalTensor(3, of: operands)
    let (rows, columns) = (extents[0][0], extents[0][1])
    let depth = a.shape[transposesA ? 0 : 1]
    let (aRow, aDepth) = transposesA ? (1, rows) : (depth, 1)
    let (bDepth, bColumn) = transposesB ? (1, depth) : (columns, 1)
    let cStrides = c.map { broadcastStrides(of: $0.shape, to: extents[0]) } ?? [0, 0]
    var y: [Scalar] = []
    y.reserveCapacity(rows * columns)
    for row in 0..<rows {
      for column in 0..<columns {
        var sum: Scalar = 0
        for k in 0..<depth {
          sum += a.elements[row * aRow + k * aDepth] * b.elements[k * bDepth + column * bColumn]
        }
        if alpha != 1 { sum *= Scalar(alpha) }
        if let c {
          sum += Scalar(beta) * c.elements[row * cStrides[0] + column * cStrides[1]]
        }
        if let residual { sum += residual.elements[y.count] }
        y.append(sum)
      }
    }
    return [try DenseTensor(shape: extents[0], elements: activation(y))]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let a = optionalOperand(0, of: operands)?.shape
    let depth = a.flatMap { $0.rank == 2 ? $0[transposesA ? 0 : 1].constant : nil } ?? 0
    return OperatorCost(multiplyAdds: saturatingProduct([elementCount(results.first), depth]))
  }

  public static let onnx = [
    ONNXBinding("Gemm") { node in
      ImportedOperator(
        Gemm(
          alpha: try node.float("alpha", default: 1), beta: try node.float("beta", default: 1),
          transposesA: try node.flag("transA", default: false),
          transposesB: try node.flag("transB", default: false)),
        operands: node.optionalInput(2) == nil ? [0, 1] : [0, 1, 2])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard activation == .none, optionalOperand(3, of: operands) == nil else {
      throw GraftError(.unsupported, "ONNX has no Gemm with a fused residual or activation")
    }
    return ExportedOperator(
      "Gemm",
      attributes: [
        ("alpha", .float(alpha)), ("beta", .float(beta)), ("transA", .int(transposesA ? 1 : 0)),
        ("transB", .int(transposesB ? 1 : 0)),
      ],
      inputs: [.operand(0), .operand(1)]
        + (optionalOperand(2, of: operands) == nil ? [] : [.operand(2)]))
  }
}

extension Gemm: DifferentiableOperator {
  /// With y = alpha · A′ · B′: dA′ = alpha · dy · B′ᵀ and dB′ = alpha · A′ᵀ · dy, where A is not transposed
  /// a sum of outer products over the rows.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    let (a, b) = (try builder.operand(0), try builder.operand(1))
    if builder.wants(0) {
      let product =
        transposesA
        ? Gemm(alpha: alpha, transposesA: transposesB, transposesB: true)
        : Gemm(alpha: alpha, transposesB: !transposesB)
      try builder.setGradient(
        of: 0, try builder.apply(product, transposesA ? [b, dy] : [dy, b]))
    }
    if builder.wants(1), transposesA {
      let product = Gemm(alpha: alpha, transposesA: transposesB, transposesB: transposesB)
      try builder.setGradient(
        of: 1, try builder.apply(product, transposesB ? [dy, a] : [a, dy]))
    } else if builder.wants(1) {
      let product = try builder.apply(BatchOuterProduct(), transposesB ? [dy, a] : [a, dy])
      try builder.setGradient(of: 1, try builder.scaled(product, by: alpha))
    }
    if builder.wants(2) {
      try builder.setGradient(of: 2, summing: try builder.scaled(dy, by: beta))
    }
    if builder.wants(3) { try builder.setGradient(of: 3, dy) }
  }
}

extension Gemm {
  /// A channel is a column of A′ with its row of B′, or a column of B′.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    if let depth = relations.channels(ofOperand: 0, axis: transposesA ? 0 : 1) {
      relations.unite(depth, relations.channels(ofOperand: 1, axis: transposesB ? 1 : 0))
    }
    let columns = relations.channels(ofOperand: 1, axis: transposesB ? 0 : 1)
    if let c = relations.type(ofOperand: 2), c.rank > 0, c.shape[c.rank - 1] != 1 {
      relations.unite(columns, relations.channels(ofOperand: 2, axis: c.rank - 1))
    }
    if relations.type(ofOperand: 3) != nil {
      relations.unite(columns, relations.channels(ofOperand: 3, axis: 1))
    }
    relations.set(columns, ofResult: 0, axis: 1)
  }
}
