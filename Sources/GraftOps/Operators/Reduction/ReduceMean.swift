// The mean over axes. ONNX ReduceMean, opsets 1, 11, 13, 18 (axes as an input);
// https://onnx.ai/onnx/operators/onnx__ReduceMean.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = the mean of x over ``axes``, which are kept with extent 1 if ``keepsAxes``; no axes, no change.
///
/// Constraints C1 and C2 of ``AxisReduction``.
///
/// - C3: each axis has a constant extent that is not 0.
public struct ReduceMean: AxisReduction, ONNXExportable {
  public static let opcode: Opcode = "reduce_mean"
  public static let summary = "mean over axes"
  public static let keepsAxesByDefault = true
  public var axes: [Int]
  public var keepsAxes: Bool

  public init(axes: [Int], keepsAxes: Bool = true) {
    self.axes = axes
    self.keepsAxes = keepsAxes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    let result = try reducedType(of: x)
    for axis in axes {
      try require(
        "C3", !x.shape[axis].isBatch && x.shape[axis] != 0,
        "axis \(axis) of \(x) must be constant and not empty")
    }
    return [result]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    [
      try reduce(try tensor(0, of: operands), to: extents[0]) {
        $0.reduce(0, +) / Scalar($0.count)
      }
    ]
  }

  /// Blocked if it is a global average pool.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    axes == [2, 3] && keepsAxes && results.first?.rank == 4 ? .blocked : .plain
  }

  public static let onnx = [
    ONNXBinding("ReduceMean") { node in
      let (axes, keepsAxes) = try node.reduction(axesAreInputFrom: 18)
      return ImportedOperator(ReduceMean(axes: axes ?? [], keepsAxes: keepsAxes), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try exportedReduction(
      "ReduceMean", axes: axes, keepsAxes: keepsAxes, axesAreInputFrom: 18, opset: opset)
  }
}

extension ReduceMean {
  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    guard axes.allSatisfy(permutation.indices.contains) else { return nil }
    var mean = self
    mean.axes = axes.map { permutation[$0] }.sorted()
    guard !keepsAxes else { return PermutedOperator(mean, resultPermutation: permutation) }
    let left = permutation.indices.filter { !axes.contains($0) }.map { permutation[$0] }
    let sorted = left.sorted()
    return PermutedOperator(
      mean,
      resultPermutation: left == sorted ? nil : left.compactMap { sorted.firstIndex(of: $0) })
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
      let extents = try builder.pooledExtents(of: try builder.operand(0))
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
