// Constants that are stored as integers. ONNX DequantizeLinear, opsets 10, 13 (axis), 21, 23, of constants;
// https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html

import GraftDiagnostics
import GraftIR

/// y = (x − zero) · scale: the real numbers of weights and biases, with one scale for all or one for each index of an
/// axis.
///
/// Operands: x int8, uint8 or int32, any shape; scale float32 and zero of x's type, [] or [extent of the axis].
///
/// Passes read the integers (``StorageOperator``), or compute the numbers once; there is no kernel.
///
/// - C1: x is int8, uint8 or int32, zero of x's type.
/// - C2: scale is float32.
/// - C3: scale and zero are scalars, or vectors with one element for each index of the axis.
public struct DequantizeWeights: ONNXExportable, StorageOperator {
  public static let opcode: Opcode = "dequantize_weights"
  public static let group = OperatorGroup.movement
  public static let summary = "the real numbers that constants stored as integers stand for"
  public static let operands: [OperandRule] = [
    .required("x"), .required("scale"), .optional("zero"),
  ]
  public static let isCompileTimeOnly = true

  public var axis: Int

  public init(axis: Int = 0) { self.axis = axis }
  public init(attributes: Attributes) throws { axis = try attributes.int("axis", default: 0) }
  public var attributes: Attributes { axis == 0 ? [:] : ["axis": .int(axis)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let scale = try operand(1, of: operands)
    let zero = optionalOperand(2, of: operands)
    guard [.int8, .uint8, .int32].contains(x.dtype) else {
      throw GraftError(.unsupported, "x must be int8, uint8 or int32, found \(x) [C1]")
    }
    try require(
      "C1", zero == nil || zero?.dtype == x.dtype,
      "zero must be \(x.dtype.rawValue), found \(zero?.description ?? "")")
    try require("C2", scale.dtype == .float32, "scale must be float32, found \(scale)")
    let isAxis = (0..<x.rank).contains(axis)
    try require("C3", isAxis || axis == 0, "axis \(axis) is not an axis of \(x)")
    for vector in [scale, zero].compactMap(\.self) {
      try require(
        "C3", vector.rank == 0 || isAxis && vector.shape == [x.shape[axis]],
        "expected one number or one for each index of axis \(axis) of \(x), found \(vector)")
    }
    return [TensorType(.float32, x.shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count >= 2, let x = try operands[0]?.wholeNumbers(), let scales = operands[1],
      let steps = scales.doubles
    else { throw GraftError(.invalidGraph, "an operand is missing") }
    let zeros = operands.count > 2 ? try operands[2]?.wholeNumbers().elements : nil
    let numbers = reals(of: x, steps: steps, zeros: zeros ?? [])
    if case .float64 = scales { return [.float64(numbers)] }
    return [.float32(numbers.map { Float($0) })]
  }

  /// A product of a difference of integers and a float32 number is exact in float64, so that there is one rounding.
  private func reals(
    of x: DenseTensor<Int>, steps: [Double], zeros: [Int]
  ) -> DenseTensor<Double> {
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let extent = x.shape.indices.contains(axis) ? x.shape[axis] : 1
    var index = -1
    return x.map { element in
      index += 1
      let place = extent == 0 || inner == 0 ? 0 : index / inner % extent
      let zero = zeros.isEmpty ? 0 : zeros[zeros.count == 1 ? 0 : place]
      return Double(element - zero) * steps[steps.count == 1 ? 0 : place]
    }
  }

  public func stored(_ operands: [TensorData?]) -> StoredNumbers? {
    guard operands.count >= 2, let x = operands[0], let elements = x.integers(),
      let scales = operands[1]?.floats()
    else { return nil }
    let zeros = operands.count > 2 ? operands[2]?.integers() : nil
    return StoredNumbers(
      elements: elements, shape: x.shape, dtype: x.dtype, scales: scales, zeros: zeros ?? [0],
      axis: axis)
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let isVector = optionalOperand(1, of: operands)?.rank == 1
    return ExportedOperator(
      "DequantizeLinear", attributes: isVector ? [("axis", .int(axis))] : [],
      inputs: [
        .operand(0), .operand(1),
        optionalOperand(2, of: operands) == nil ? .absent : .operand(2),
      ])
  }
}

/// Integers with the real numbers that they stand for: scale · (element − zero).
public struct StoredNumbers: Sendable {
  public var elements: [Int]
  public var shape: [Int]
  public var dtype: DataType
  /// One number, or one for each index of the axis; so are the zero points.
  public var scales: [Float]
  public var zeros: [Int]
  public var axis: Int
}

/// An operator on constants that says how their numbers are stored. The importer keeps it as it is, so that passes
/// can read what is stored; where none does, it is folded like all computed constants.
public protocol StorageOperator: Operator {
  /// - Parameter operands: the data of the operands, nil for an absent one.
  /// - Returns: nil if the data do not say it.
  func stored(_ operands: [TensorData?]) -> StoredNumbers?
}

extension Graph {
  /// Whether the file says that values are quantized.
  public var isStoredInBytes: Bool {
    nodes.contains { $0.opcode == Dequantize.opcode || $0.opcode == DequantizeWeights.opcode }
  }
}
