// The gradients of a layer normalization: of x, row by row, and of scale and bias, which are sums over rows.

import GraftDiagnostics
import GraftIR
import RealModule

extension LayerNormalization: DifferentiableOperator {
  /// dx by ``LayerNormalizationGradient``, to which the mean's gradient adds m / D and the factor's
  /// −f · factor³ · (x − mean) / D, with D the elements of a row; dscale and dbias by
  /// ``LayerNormalizationParameterGradient``.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let (x, scale) = (try builder.operand(0), try builder.operand(1))
    let (mean, factor) = (builder.result(1), builder.result(2))
    let dy = builder.gradient(ofResult: 0)
    if builder.wants(0) {
      let share = 1 / Double(try NormalizedRows(builder.type(of: x), axis: axis).count)
      var parts: [ValueID] = []
      if let dy {
        parts.append(
          try builder.apply(LayerNormalizationGradient(axis: axis), [dy, x, scale, mean, factor]))
      }
      if let ofFactor = builder.gradient(ofResult: 2) {
        let cube = try builder.apply(Power(exponent: 3), [factor])
        let slope = try builder.scaled(
          try builder.apply(Multiply(), [ofFactor, cube]), by: -share)
        let centered = try builder.apply(Subtract(), [x, mean])
        parts.append(try builder.apply(Multiply(), [centered, slope]))
      }
      if let ofMean = builder.gradient(ofResult: 1) {
        // Every element of a row has the same gradient; adding zeros broadcasts it to the row's shape.
        let zeros = try builder.scaled(x, by: 0)
        parts.append(try builder.apply(Add(), [zeros, try builder.scaled(ofMean, by: share)]))
      }
      guard var sum = parts.first else { return }
      for part in parts.dropFirst() { sum = try builder.apply(Add(), [sum, part]) }
      try builder.setGradient(of: 0, sum)
    }
    guard let dy, builder.wants(1) || builder.wants(2) else { return }
    let slopes = try builder.applyAll(
      LayerNormalizationParameterGradient(axis: axis), [dy, x, mean, factor])
    if builder.wants(1) { try builder.setGradient(of: 1, slopes[0]) }
    if builder.wants(2) { try builder.setGradient(of: 2, slopes[1]) }
  }
}

/// A gradient of ``LayerNormalization``, whose first operands are dy and x, and whose last are mean and factor, the
/// forward pass's results. The rows are the axes from ``axis`` on.
///
/// - C1: x has a floating-point type.
/// - C5: dy has x's type; mean and factor have x's shape with 1 for every normalized axis.
public protocol RowGradient: RealOperator {
  var axis: Int { get }
  init(axis: Int)
}

extension RowGradient {
  public init(attributes: Attributes) throws { self.init(axis: try attributes.int("axis")) }
  public var attributes: Attributes { ["axis": .int(axis)] }

  /// The type of x, and its rows.
  /// - Parameter first: the position of mean, before factor.
  /// - Throws: ``GraftError`` if C1 or C5 does not hold, or the axis is not one of ``LayerNormalization``.
  func checkedRows(
    _ operands: [TensorType?], statisticsFrom first: Int
  ) throws -> (x: TensorType, rows: NormalizedRows) {
    let x = try operand(1, of: operands)
    try requireReal("C1", x)
    let rows = try NormalizedRows(x, axis: axis)
    for (index, shape) in [(0, x.shape), (first, rows.statistics), (first + 1, rows.statistics)] {
      let type = try operand(index, of: operands)
      try require(
        "C5", type.dtype == x.dtype && type.shape == shape,
        "\(Self.operands[index].name) must be \(x.dtype.rawValue)\(shape), found \(type)")
    }
    return (x, rows)
  }
}

/// dx = factor · (g − mean of g − n · mean of g · n) over each row, with g = dy · scale and n = (x − mean) ·
/// factor: the gradient of ``LayerNormalization``.
///
/// Operands: dy, x, scale, mean and factor. Constraints of ``RowGradient``.
///
/// - C3: scale has x's type and the shape of the normalized axes.
public struct LayerNormalizationGradient: RowGradient {
  public static let opcode: Opcode = "layer_normalization_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "input gradient of a layer normalization"
  public static let operands: [OperandRule] = [
    .required("dy"), .required("x"), .required("scale", .scale), .required("mean"),
    .required("factor"),
  ]
  public static let resultNames = ["dx"]

  public var axis: Int

  public init(axis: Int) { self.axis = axis }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let (x, rows) = try checkedRows(operands, statisticsFrom: 3)
    let scale = try operand(2, of: operands)
    try require(
      "C3", scale.dtype == x.dtype && scale.shape == rows.row,
      "scale must be \(x.dtype.rawValue)\(rows.row), found \(scale)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let values = try (0..<5).map { try tensor($0, of: operands).elements }
    let count = values[2].count
    var dx = values[0]
    for (row, start) in stride(from: 0, to: count > 0 ? dx.count : 0, by: count).enumerated() {
      let (mean, factor) = (Double(values[3][row]), Double(values[4][row]))
      let g = (0..<count).map { Double(values[0][start + $0]) * Double(values[2][$0]) }
      let n = (0..<count).map { (Double(values[1][start + $0]) - mean) * factor }
      let meanG = g.reduce(0, +) / Double(count)
      let meanGN = zip(g, n).reduce(0) { $0 + $1.0 * $1.1 } / Double(count)
      for index in 0..<count {
        dx[start + index] = Scalar(factor * (g[index] - meanG - n[index] * meanGN))
      }
    }
    return [try DenseTensor(shape: extents[0], elements: dx)]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([6, elementCount(results.first)]))
  }

  public var overwritableOperands: [Int] { [0, 1] }
}

/// dscale = Σ dy · (x − mean) · factor and dbias = Σ dy over all rows.
///
/// Operands: dy, x, mean and factor. Constraints of ``RowGradient``.
public struct LayerNormalizationParameterGradient: RowGradient {
  public static let opcode: Opcode = "layer_normalization_parameter_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradients of a layer normalization's scale and bias"
  public static let operands: [OperandRule] = [
    .required("dy"), .required("x"), .required("mean"), .required("factor"),
  ]
  public static let resultNames = ["dscale", "dbias"]

  public var axis: Int

  public init(axis: Int) { self.axis = axis }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let (x, rows) = try checkedRows(operands, statisticsFrom: 2)
    return Array(repeating: TensorType(x.dtype, rows.row), count: 2)
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let values = try (0..<4).map { try tensor($0, of: operands).elements }
    let count = extents[0].reduce(1, *)
    var (scale, bias) = (
      Array(repeating: 0.0, count: count), Array(repeating: 0.0, count: count)
    )
    for (position, gradient) in values[0].enumerated() {
      let row = position / count
      let normalized =
        (Double(values[1][position]) - Double(values[2][row])) * Double(values[3][row])
      scale[position % count] += Double(gradient) * normalized
      bias[position % count] += Double(gradient)
    }
    return try [scale, bias].map {
      try DenseTensor(shape: extents[0], elements: $0.map { Scalar($0) })
    }
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(
      multiplyAdds: saturatingProduct([2, elementCount(optionalOperand(1, of: operands))]))
  }
}
