// The mean over axes. ONNX ReduceMean, opsets 1, 11, 13, 18 (axes as an input);
// https://onnx.ai/onnx/operators/onnx__ReduceMean.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = the mean of x over ``axes``, which stay with extent 1 where ``keepsAxes``; no axes, no change.
///
/// - C1: x has a floating-point type.
/// - C2: axes are different axes of x, ascending.
/// - C3: each of them has a constant extent that is not 0.
public struct ReduceMean: RealOperator, ONNXExportable {
  public static let opcode: Opcode = "reduce_mean"
  public static let summary = "mean over axes"
  public static let operands: [OperandRule] = [.required("x")]

  /// Counted from the front, ascending.
  public var axes: [Int]
  public var keepsAxes: Bool

  public init(axes: [Int], keepsAxes: Bool = true) {
    self.axes = axes
    self.keepsAxes = keepsAxes
  }

  public init(attributes: Attributes) throws {
    axes = try attributes.ints("axes")
    keepsAxes = try attributes.bool("keeps_axes", default: true)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["axes": .ints(axes)]
    if !keepsAxes { attributes["keeps_axes"] = .bool(false) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    try requireAxes("C2", axes, rank: x.rank)
    var dimensions: [Dimension] = []
    for (axis, extent) in x.shape.dimensions.enumerated() {
      guard axes.contains(axis) else {
        dimensions.append(extent)
        continue
      }
      try require(
        "C3", !extent.isBatch && extent != 0,
        "axis \(axis) of \(x) must be constant and not empty")
      if keepsAxes { dimensions.append(1) }
    }
    return [TensorType(x.dtype, TensorShape(dimensions))]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let kept = x.shape.indices.filter { !axes.contains($0) }
    let strides = x.strides
    let count = axes.map { x.shape[$0] }.reduce(1, *)
    let ordered = try strided(
      x.elements, offset: 0, strides: (kept + axes).map { strides[$0] },
      extents: (kept + axes).map { x.shape[$0] })
    let means = (0..<extents[0].reduce(1, *)).map { index in
      ordered[(index * count)..<((index + 1) * count)].reduce(0, +) / Scalar(count)
    }
    return [try DenseTensor(shape: extents[0], elements: means)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(optionalOperand(0, of: operands)))
  }

  /// Blocked where it is a global average pool.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    axes == [2, 3] && keepsAxes && results.first?.rank == 4 ? .blocked : .plain
  }

  public static let onnx = [
    ONNXBinding("ReduceMean", opsets: 7...17) { node in
      try read(node, axes: try node.optionalInts("axes"))
    },
    ONNXBinding("ReduceMean", opsets: 18...21) { node in
      try read(node, axes: try node.fixedIntegers(1, named: "axes"))
    },
  ]

  private static func read(_ node: ONNXNode, axes: [Int]?) throws -> ImportedOperator {
    let rank = try node.input(0).type.rank
    let listed = axes ?? []
    let isIdentity =
      try node.opset >= 18 && listed.isEmpty && node.flag("noop_with_empty_axes", default: false)
    let reduced =
      listed.isEmpty && !isIdentity ? Array(0..<rank) : try countFromFront(listed, rank: rank)
    return ImportedOperator(
      ReduceMean(axes: reduced, keepsAxes: try node.flag("keepdims", default: true)),
      operands: [0])
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let keepsAxes = ONNXAttributeValue.int(keepsAxes ? 1 : 0)
    if opset < 18 {
      guard !axes.isEmpty else { return ExportedOperator("Identity", inputs: [.operand(0)]) }
      return ExportedOperator(
        "ReduceMean", attributes: [("axes", .ints(axes)), ("keepdims", keepsAxes)],
        inputs: [.operand(0)])
    }
    return ExportedOperator(
      "ReduceMean", attributes: [("keepdims", keepsAxes), ("noop_with_empty_axes", .int(1))],
      inputs: [.operand(0), .constant(try .vector(axes))])
  }
}

extension ReduceMean: DifferentiableOperator {
  /// dx = dy / count, repeated along the axes that were reduced.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    var kept = shape
    for axis in axes { kept[axis] = 1 }
    let dy = try builder.reshaped(try builder.incoming(), to: kept)
    if axes == [2, 3], shape.rank == 4 {
      let extents = try builder.pooledExtents()
      let pool = AveragePool(window: Window(kernel: extents))
      return try builder.setGradient(
        of: 0, try builder.apply(AveragePoolGradient(pool: pool, extents: extents), [dy]))
    }
    let count = saturatingProduct(axes.map { shape[$0].constant ?? 1 })
    let share = try builder.scaled(dy, by: 1 / Double(count))
    try builder.setGradient(
      of: 0, kept == shape ? share : try builder.apply(Expand(shape: shape), [share]))
  }
}
