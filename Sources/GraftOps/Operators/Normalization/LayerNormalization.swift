// Normalization over the last axes of every row (Ba, Kiros and Hinton 2016, arXiv:1607.06450). ONNX
// LayerNormalization, opset 17;
// https://onnx.ai/onnx/operators/onnx__LayerNormalization.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = (x − mean) · factor · scale + bias, with the mean over the axes from ``axis`` on and
/// factor = 1 / √(variance + ε), the variance without correction (equation 3).
///
/// x, of any shape; scale and bias, of the shape of the normalized axes. Results: y, of x's shape; mean and
/// factor, of x's shape with 1 for every normalized axis, which the gradient reads.
///
/// - C1: x has a floating-point type.
/// - C2: axis is an axis of x, and the extents from it on are constants and not 0.
/// - C3: scale and bias have x's type and the shape of the normalized axes.
/// - C4: epsilon is not negative.
public struct LayerNormalization: RealOperator, ONNXExportable {
  public static let opcode: Opcode = "layer_normalization"
  public static let group = OperatorGroup.normalization
  public static let summary = "normalizes each row over its last axes"
  public static let operands: [OperandRule] = [
    .required("x"), .required("scale", .scale), .optional("bias", .bias),
  ]
  public static let resultNames = ["y", "mean", "factor"]

  public var axis: Int
  public var epsilon: Double

  public init(axis: Int, epsilon: Double = 1e-5) {
    self.axis = axis
    self.epsilon = epsilon
  }

  public init(attributes: Attributes) throws {
    self.init(axis: try attributes.int("axis"), epsilon: try attributes.float("epsilon"))
  }

  public var attributes: Attributes { ["axis": .int(axis), "epsilon": .float(epsilon)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireReal("C1", x)
    let rows = try NormalizedRows(x, axis: axis)
    for index in 1..<3 {
      guard let vector = optionalOperand(index, of: operands) else { continue }
      try require(
        "C3", vector.dtype == x.dtype && vector.shape == rows.row,
        "\(Self.operands[index].name) must be \(x.dtype.rawValue)\(rows.row), found \(vector)")
    }
    try require("C4", epsilon >= 0, "epsilon must not be negative, found \(epsilon)")
    return [TensorType(x.dtype, x.shape)]
      + Array(repeating: TensorType(x.dtype, rows.statistics), count: 2)
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (x, scale) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let bias = optionalTensor(2, of: operands)
    let count = scale.elements.count
    var (y, means, factors) = (x.elements, [Scalar](), [Scalar]())
    for start in stride(from: 0, to: count > 0 ? y.count : 0, by: count) {
      let row = x.elements[start..<(start + count)]
      let mean = row.reduce(0.0) { $0 + Double($1) } / Double(count)
      let variance = row.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
      let factor = 1 / (variance / Double(count) + epsilon).squareRoot()
      for index in 0..<count {
        let normalized = Scalar((Double(row[start + index]) - mean) * factor)
        y[start + index] = normalized * scale.elements[index] + (bias?.elements[index] ?? 0)
      }
      means.append(Scalar(mean))
      factors.append(Scalar(factor))
    }
    return [
      try DenseTensor(shape: extents[0], elements: y),
      try DenseTensor(shape: extents[1], elements: means),
      try DenseTensor(shape: extents[2], elements: factors),
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([4, elementCount(results.first)]))
  }

  public var overwritableOperands: [Int] { [0] }

  public static let onnx = [
    ONNXBinding("LayerNormalization") { node in
      let (x, scale) = (try node.input(0).type, try node.input(1).type)
      let axis = try x.shape.axis(try node.int("axis", default: -1))
      let row = TensorShape(Array(x.shape.dimensions[axis...]))
      guard try node.int("stash_type", default: 1) == 1 else {
        throw GraftError(.unsupported, "statistics are computed in float32: stash_type must be 1")
      }
      guard scale.shape == row else {
        throw GraftError(
          .unsupported, "a scale of \(scale.shape) for rows of \(row)",
          advice: "Export the scale with the shape of the normalized axes.")
      }
      return ImportedOperator(
        LayerNormalization(
          axis: axis, epsilon: try node.float("epsilon", default: Double(Float(1e-5)))),
        operands: node.optionalInput(2) == nil ? [0, 1] : [0, 1, 2])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "LayerNormalization", attributes: [("axis", .int(axis)), ("epsilon", .float(epsilon))],
      inputs: operands.indices.map { operands[$0] == nil ? .absent : .operand($0) })
  }
}

/// The rows that a layer normalization works on: the shape of one, and that of a number for each.
public struct NormalizedRows {
  public let row: TensorShape
  public let statistics: TensorShape
  /// Elements of a row.
  public let count: Int

  /// - Throws: ``GraftError`` if C2 of ``LayerNormalization`` does not hold.
  public init(_ x: TensorType, axis: Int) throws {
    try require("C2", (0..<max(1, x.rank)).contains(axis) && x.rank > 0, "axis \(axis) of \(x)")
    let dimensions = x.shape.dimensions
    row = TensorShape(Array(dimensions[axis...]))
    statistics = TensorShape(
      dimensions[..<axis] + Array(repeating: Dimension(1), count: x.rank - axis))
    let elements = row.elementCount?.constant ?? 0
    try require("C2", elements > 0, "rows of \(row) have no constant number of elements")
    count = elements
  }
}
