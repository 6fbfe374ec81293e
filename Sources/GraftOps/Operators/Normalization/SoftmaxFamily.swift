// Shared code of softmax and log_softmax: the axis, the older rule that flattens, types and ONNX form.

import GraftDiagnostics
import GraftIR
import RealModule

/// What is normalized together.
public struct SoftmaxRows: Hashable, Sendable {
  /// Counted from the front.
  public var axis: Int
  /// Whether the axes from `axis` to the last are normalized as one (ONNX before opset 13).
  public var flattens: Bool

  public init(axis: Int, flattens: Bool = false) {
    self.axis = axis
    self.flattens = flattens
  }
}

/// A normalization of x along one axis, or along all axes from one on.
///
/// - C1: x has a floating-point type.
/// - C2: axis is an axis of x.
/// - C3: the normalized axes are constant.
public protocol SoftmaxFamily: ProbabilityActivation, RealOperator, ONNXExportable {
  static var onnxName: String { get }
  var rows: SoftmaxRows { get }
  init(_ rows: SoftmaxRows)
  /// Normalizes one row, which is not empty.
  static func normalize<Scalar: Real & BinaryFloatingPoint>(_ row: [Scalar]) -> [Scalar]
}

extension SoftmaxFamily {
  public static var operands: [OperandRule] { [.required("x")] }
  public static var group: OperatorGroup { .activation }

  public init(axis: Int, flattens: Bool = false) {
    self.init(SoftmaxRows(axis: axis, flattens: flattens))
  }
  public var axis: Int { rows.axis }
  public var flattens: Bool { rows.flattens }

  public init(attributes: Attributes) throws {
    self.init(
      axis: try attributes.int("axis"),
      flattens: try attributes.bool("flattened", default: false))
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["axis": .int(axis)]
    if flattens { attributes["flattened"] = .bool(true) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    try require("C2", (0..<x.rank).contains(axis), "axis \(axis) is not an axis of \(x)")
    let normalized = flattens ? x.shape.dimensions[axis...] : x.shape.dimensions[axis...axis]
    try require(
      "C3", normalized.allSatisfy { !$0.isBatch }, "the normalized axes of \(x) must be constant")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let extent = flattens ? x.shape[axis...].reduce(1, *) : x.shape[axis]
    let inner = flattens ? 1 : x.shape[(axis + 1)...].reduce(1, *)
    var y = x
    guard !x.elements.isEmpty else { return [y] }
    for outer in 0..<(x.elements.count / (extent * inner)) {
      for column in 0..<inner {
        let base = outer * extent * inner + column
        let row = Self.normalize((0..<extent).map { x.elements[base + $0 * inner] })
        for (index, value) in row.enumerated() { y.elements[base + index * inner] = value }
      }
    }
    return [y]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public var overwritableOperands: [Int] { [0] }

  public static var onnx: [ONNXBinding] {
    [
      ONNXBinding(onnxName, opsets: 1...12) { node in
        let shape = try node.input(0).type.shape
        let axis = try shape.axis(try node.int("axis", default: 1))
        // If all later axes have extent 1, both rules agree.
        let flattens = shape.dimensions[(axis + 1)...].contains { $0 != 1 }
        return ImportedOperator(Self(axis: axis, flattens: flattens), operands: [0])
      },
      ONNXBinding(onnxName, since: 13) { node in
        let shape = try node.input(0).type.shape
        let axis = try shape.axis(try node.int("axis", default: -1))
        return ImportedOperator(Self(axis: axis, flattens: false), operands: [0])
      },
    ]
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard !flattens else {
      throw GraftError(
        .unsupported, "opset \(opset) has no \(Self.onnxName) over several axes at once")
    }
    return ExportedOperator(
      Self.onnxName, attributes: [("axis", .int(axis))], inputs: [.operand(0)])
  }
}

extension SoftmaxFamily {
  public func axesWorkedAlong(rank: Int) -> [Int] { normalizedAxes(rank: rank) }

  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    guard !flattens, permutation.indices.contains(axis) else { return nil }
    return PermutedOperator(Self(axis: permutation[axis]), resultPermutation: permutation)
  }

  /// A normalization over all axes from ``axis`` on, as one over a single axis.
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    guard flattens else { return nil }
    let x = try builder.operand(0)
    let shape = builder.shape(of: x)
    guard let product = TensorShape(Array(shape.dimensions[axis...])).elementCount else {
      throw GraftError(.invalidGraph, "the shape \(shape) has too many elements")
    }
    let flat = TensorShape(Array(shape.dimensions[..<axis]) + [product])
    let matrix = try builder.apply(Reshape(shape: flat), [x])
    let rows = try builder.apply(Self(axis: axis), [matrix])
    return try builder.apply(Reshape(shape: shape), [rows])
  }

  /// The axes that are normalized together.
  public func normalizedAxes(rank: Int) -> [Int] { flattens ? Array(axis..<rank) : [axis] }
}
