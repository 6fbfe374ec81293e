// Writing elements along an axis, each to an index of its own. ONNX ScatterElements, opsets 11, 13, 16 (reduction),
// 18 (min and max), and Scatter, opset 9; https://onnx.ai/onnx/operators/onnx__ScatterElements.html

import GraftDiagnostics
import GraftIR

/// y = x, with y[…, indices[…, i, …], …] = updates[…, i, …] on axis ``axis``, or combined with what is there by
/// ``reduction``. Of several updates without a reduction the last one stays. Negative indices count from the end.
///
/// Operands: x of any element type; indices of int32 or int64; updates of the shape of indices. Kernels take the
/// nearest index for one outside, and the reference evaluator throws.
///
/// x and indices as C1 and C2 of ``GatherElements`` say.
///
/// - C3: updates have the element type of x and the shape of indices; without a reduction x may be bool.
public struct ScatterElements: ONNXExportable {
  public enum Reduction: String, Sendable, CaseIterable {
    case none, add, mul, max, min
  }

  public static let opcode: Opcode = "scatter_elements"
  public static let group = OperatorGroup.movement
  public static let summary = "writes elements along an axis, each to its own index"
  public static let operands: [OperandRule] = [
    .required("x"), .required("indices"), .required("updates"),
  ]

  /// Counted from the front.
  public var axis: Int
  public var reduction: Reduction

  public init(axis: Int, reduction: Reduction = .none) {
    self.axis = axis
    self.reduction = reduction
  }

  public init(attributes: Attributes) throws {
    axis = try attributes.int("axis")
    let name = try attributes.string("reduction", default: "none")
    guard let reduction = Reduction(rawValue: name) else {
      throw GraftError(.invalidGraph, "unknown reduction \(name.quotedForDisplay)")
    }
    self.reduction = reduction
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["axis": .int(axis)]
    if reduction != .none { attributes["reduction"] = .string(reduction.rawValue) }
    return attributes
  }

  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let indices = try operand(1, of: operands)
    let updates = try operand(2, of: operands)
    try requireElementIndices(x, indices, axis: axis)
    try require(
      "C3", updates.dtype == x.dtype && updates.shape == indices.shape,
      "updates must be \(x.dtype.rawValue)\(indices.shape), found \(updates)")
    if reduction != .none, x.dtype == .bool {
      throw GraftError(.unsupported, "the reduction \(reduction.rawValue) of booleans [C3]")
    }
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 3, case .integer(let indices)? = operands[1] else {
      throw GraftError(.invalidGraph, "indices must be integers")
    }
    switch (operands[0], operands[2]) {
    case (.float32(let x), .float32(let updates)):
      return [.float32(try scatter(x, indices, updates, combined))]
    case (.float64(let x), .float64(let updates)):
      return [.float64(try scatter(x, indices, updates, combined))]
    case (.integer(let x), .integer(let updates)):
      return [.integer(try scatter(x, indices, updates, combinedWhole))]
    default: throw GraftError(.invalidGraph, "updates must have the type of x [C3]")
    }
  }

  private func combined<Scalar: BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar {
    switch reduction {
    case .none: b
    case .add: a + b
    case .mul: a * b
    case .max: a.isNaN || b.isNaN ? .nan : Swift.max(a, b)
    case .min: a.isNaN || b.isNaN ? .nan : Swift.min(a, b)
    }
  }

  private func combinedWhole(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    let result: Dimension?
    switch reduction {
    case .none: result = b
    case .add: result = a.adding(b)
    case .mul: result = a.multiplied(by: b)
    case .max: result = Maximum.apply(a, b)
    case .min: result = Minimum.apply(a, b)
    }
    return try requireShapeValue(result, Self.opcode, a, b)
  }

  private func scatter<Element>(
    _ x: DenseTensor<Element>, _ indices: DenseTensor<Dimension>, _ updates: DenseTensor<Element>,
    _ combine: (Element, Element) throws -> Element
  ) throws -> DenseTensor<Element> {
    var y = x
    let strides = x.strides
    var position = 0
    try forEachIndex(of: indices.shape) { index in
      var place = index
      place[axis] = try wholeIndex(indices.elements[position], below: x.shape[axis])
      let to = zip(place, strides).reduce(0) { $0 + $1.0 * $1.1 }
      y.elements[to] = try combine(y.elements[to], updates.elements[position])
      position += 1
    }
    return y
  }

  public static let onnx = ["ScatterElements", "Scatter"].map { name in
    ONNXBinding(name, since: name == "Scatter" ? 9 : 11) { node in
      let shape = try node.input(0).type.shape
      let axis = try shape.axis(try node.int("axis", default: 0))
      try node.requireIndices(1, in: [axis], of: shape)
      return ImportedOperator(
        ScatterElements(axis: axis, reduction: try node.scatterReduction()), operands: [0, 1, 2])
    }
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "ScatterElements",
      attributes: [("axis", .int(axis)), ("reduction", .string(reduction.rawValue))],
      inputs: [.operand(0), .operand(1), .operand(2)])
  }
}

extension ONNXNode {
  /// How updates are combined with what is there.
  func scatterReduction() throws -> ScatterElements.Reduction {
    let name = try string("reduction", default: "none")
    guard let reduction = ScatterElements.Reduction(rawValue: name) else {
      throw GraftError(.invalidModel, "reduction \(name.quotedForDisplay) is not in ONNX")
    }
    return reduction
  }
}

extension ScatterElements: DifferentiableOperator {
  /// Where updates are added, x gets dy, and the updates get dy at the indices. Where they replace elements, x gets dy with
  /// zeros at the indices, and the updates the same as before; two updates of one index both get it, as in PyTorch.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    guard reduction == .add || reduction == .none else {
      throw GraftError(.unsupported, "the gradient of a scatter by \(reduction.rawValue)")
    }
    let dy = try builder.incoming()
    let indices = try builder.operand(1)
    if builder.wants(0) {
      var dx = dy
      if reduction == .none {
        let updates = try builder.operand(2)
        let zeros = try builder.apply(
          Expand(shape: builder.shape(of: updates)), [try builder.scalar(0, like: updates)])
        dx = try builder.apply(ScatterElements(axis: axis), [dy, indices, zeros])
      }
      try builder.setGradient(of: 0, dx)
    }
    if builder.wants(2) {
      try builder.setGradient(
        of: 2, try builder.apply(GatherElements(axis: axis), [dy, indices]))
    }
  }
}
