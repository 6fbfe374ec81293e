// Choosing along an axis by indices. ONNX Gather, opsets 1, 11 (negative indices), 13;
// https://onnx.ai/onnx/operators/onnx__Gather.html

import GraftDiagnostics
import GraftIR

/// y replaces axis ``axis`` of x by the axes of indices: y[…, i…, …] = x[…, indices[i…], …]. Negative
/// indices count from the end.
///
/// Operands: x of any element type; indices of int32 or int64; where they are computed,
/// kernels take the nearest index for one outside, and the reference evaluator throws.
///
/// - C1: axis is an axis of x, and its extent is constant.
/// - C2: indices are integers.
public struct Gather: ONNXExportable {
  public static let opcode: Opcode = "gather"
  public static let group = OperatorGroup.movement
  public static let summary = "selects elements along an axis by indices"
  public static let operands: [OperandRule] = [.required("x", .table), .required("indices")]

  /// Counted from the front.
  public var axis: Int

  public init(axis: Int = 0) { self.axis = axis }
  public init(attributes: Attributes) throws { axis = try attributes.int("axis") }
  public var attributes: Attributes { ["axis": .int(axis)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let indices = try operand(1, of: operands)
    try require(
      "C1", (0..<x.rank).contains(axis) && !x.shape[axis].isBatch,
      "axis \(axis) is not an axis of \(x) with a constant extent")
    try require("C2", indices.dtype.isInteger, "indices must be integers, found \(indices)")
    return [
      TensorType(
        x.dtype,
        TensorShape(
          x.shape.dimensions[..<axis] + indices.shape.dimensions + x.shape.dimensions[(axis + 1)...]
        ))
    ]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, case .integer(let indices) = operands[1] else {
      throw GraftError(.invalidGraph, "indices must be integers [C2]")
    }
    switch operands[0] {
    case .float32(let x): return [.float32(try gather(x, indices, extents[0]))]
    case .float64(let x): return [.float64(try gather(x, indices, extents[0]))]
    case .integer(let x): return [.integer(try gather(x, indices, extents[0]))]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard values.count == 2, let x = values[0], let indices = values[1],
      let extents = try foldableExtents(types)?.first
    else { return nil }
    return [try gather(x, indices, extents)]
  }

  private func gather<Element>(
    _ x: DenseTensor<Element>, _ indices: DenseTensor<Dimension>, _ extents: [Int]
  ) throws -> DenseTensor<Element> {
    let available = x.shape[axis]
    let inner = x.shape[(axis + 1)...].reduce(1, *)
    let positions = try indices.elements.map { index -> Int in
      guard let index = index.constant, index >= -available, index < available else {
        throw GraftError(.invalidGraph, "index \(index) is outside \(available)")
      }
      return index < 0 ? index + available : index
    }
    var elements: [Element] = []
    for outer in 0..<x.shape[..<axis].reduce(1, *) {
      for position in positions {
        let start = (outer * available + position) * inner
        elements += x.elements[start..<(start + inner)]
      }
    }
    return try DenseTensor(shape: extents, elements: elements)
  }

  public static let onnx = [
    ONNXBinding("Gather") { node in
      let shape = try node.input(0).type.shape
      let axis = try shape.axis(try node.int("axis", default: 0))
      try node.requireIndices(1, in: [axis], of: shape)
      return ImportedOperator(Gather(axis: axis), operands: [0, 1])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "Gather", attributes: [("axis", .int(axis))], inputs: [.operand(0), .operand(1)])
  }
}

extension ONNXNode {
  /// Checks the indices of input `index`, where they are known: the last axis of the indices has one for each of `axes`
  /// of `shape` if there are several axes, else every element is one. Those of `ignored` are not checked.
  func requireIndices(
    _ index: Int, in axes: [Int], of shape: TensorShape, ignoring ignored: Int? = nil
  ) throws {
    guard !axes.isEmpty, let indices = try input(index).integers?.elements else { return }
    for (position, value) in indices.enumerated() {
      if let ignored, value.constant == ignored { continue }
      let axis = axes[position % axes.count]
      guard let extent = shape[axis].constant, extent >= 0 else { continue }
      guard let value = value.constant, (-extent..<extent).contains(value) else {
        throw GraftError(.invalidModel, "index \(value) is outside axis \(axis) of \(shape)")
      }
    }
  }
}

extension Gather {
  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  /// One constant index is a slice, without the axis that it is one element long on.
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    guard let shape = node.type(ofOperand: 0)?.shape,
      let indices = node.constantIntegers(ofOperand: 1), indices.count == 1,
      let index = indices.first, let extent = shape[axis].constant,
      (-extent..<extent).contains(index)
    else { return nil }
    let start = index < 0 ? index + extent : index
    return .nodes([
      SimplerNode(
        Slice(axes: [axis], starts: [start], extents: [1], steps: [1]), [.operand(0)]),
      SimplerNode(Reshape(shape: node.resultType.shape), [.result(0)]),
    ])
  }
}

extension Gather: DifferentiableOperator {
  /// 64 MiB as float32, far more than selecting channels needs.
  private static let largestMatrix = 1 << 24

  /// Each row of dy is added to the row that it was read from: if the indices are constant, the product with
  /// a matrix that has a 1 where a row [indices] was read from a row [extent of the axis]; else by their
  /// values while the network runs.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = builder.shape(of: try builder.operand(0))
    guard let available = x[axis].constant else {
      throw GraftError(.unsupported, "the gradient of a gather along an axis of \(x)")
    }
    let indices = builder.graph[try builder.operand(1)].parameter?.data?.integers()
    let (count, overflows) = (indices?.count ?? 0).multipliedReportingOverflow(by: available)
    guard let indices, !overflows, (1...Self.largestMatrix).contains(count) else {
      return try builder.setGradient(
        of: 0,
        try builder.apply(
          GatherGradient(axis: axis, extent: available),
          [try builder.incoming(), try builder.operand(1)]))
    }
    var matrix = Array(repeating: 0.0, count: count)
    for (row, index) in indices.enumerated() {
      guard (-available..<available).contains(index) else {
        throw GraftError(.invalidGraph, "index \(index) is outside \(available)")
      }
      matrix[row * available + (index < 0 ? index + available : index)] = 1
    }
    let dy = try builder.incoming()
    // The axis goes last: [before…, indices, after…] to [before…, after…, indices].
    let others = Array(0..<axis) + Array((axis + 1)..<x.rank)
    var shape = x
    shape[axis] = Dimension(indices.count)
    var moved = try builder.reshaped(dy, to: shape)
    if axis != x.rank - 1 {
      moved = try builder.apply(Transpose(permutation: others + [axis]), [moved])
    }
    guard let rows = TensorShape(others.map { x[$0] }).elementCount else {
      throw GraftError(.unsupported, "the gradient of a gather from \(x)")
    }
    let product = try builder.apply(
      Gemm(),
      [
        try builder.reshaped(moved, to: [rows, Dimension(indices.count)]),
        try builder.constant(matrix, shape: [indices.count, available], like: dy),
      ])
    var dx = try builder.reshaped(product, to: TensorShape((others + [axis]).map { x[$0] }))
    if axis != x.rank - 1 {
      var back = Array(others.indices)
      back.insert(x.rank - 1, at: axis)
      dx = try builder.apply(Transpose(permutation: back), [dx])
    }
    try builder.setGradient(of: 0, dx)
  }
}

extension Gather {
  /// Along the axis of the indices, all channels stay.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    guard let x = relations.type(ofOperand: 0), let indices = relations.type(ofOperand: 1) else {
      return
    }
    for axis in 0..<x.rank where axis != self.axis {
      relations.carry(axis: axis, axis: axis < self.axis ? axis : axis - 1 + indices.rank)
    }
  }
}
