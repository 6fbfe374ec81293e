// The sum over axes, of which one may be the batch: the gradient of broadcasting, and of a
// bias. ONNX ReduceSum, opsets 1, 11, 13 (axes as an input), of real numbers; that of integers is Reduction.
// https://onnx.ai/onnx/operators/onnx__ReduceSum.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = the sum of x over ``axes``, which are kept with extent 1 if ``keepsAxes``.
///
/// Constraints C1 and C2 of ``AxisReduction``.
public struct ReduceSum: AxisReduction, ONNXExportable {
  public static let opcode: Opcode = "reduce_sum"
  public static let summary = "sum over axes"
  public static let keepsAxesByDefault = false
  public var axes: [Int]
  public var keepsAxes: Bool

  public init(axes: [Int], keepsAxes: Bool = false) {
    self.axes = axes
    self.keepsAxes = keepsAxes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    [try reducedType(of: try operand(0, of: operands))]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    [
      try reduce(try tensor(0, of: operands), to: extents[0]) {
        Scalar($0.reduce(0.0) { $0 + Double($1) })
      }
    ]
  }

  /// Blocked if an image is summed over batch and space to one value per channel.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    axes == [0, 2, 3] && optionalOperand(0, of: operands)?.rank == 4 ? .reducing : .plain
  }

  public static let onnx = [
    ONNXBinding("ReduceSum") { node in
      let (axes, keepsAxes) = try node.reduction(axesAreInputFrom: 13)
      guard try node.input(0).type.dtype.isFloatingPoint else {
        return ImportedOperator(
          Reduction(.sum, axes: axes ?? [], keepsAxes: keepsAxes), operands: [0])
      }
      try node.refuseBatch(among: axes ?? [])
      return ImportedOperator(ReduceSum(axes: axes ?? [], keepsAxes: keepsAxes), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    try exportedReduction(
      "ReduceSum", axes: axes, keepsAxes: keepsAxes, axesAreInputFrom: 13, opset: opset)
  }
}

extension ReduceSum: DifferentiableOperator {
  /// dx = dy, repeated along the axes that were reduced.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    let kept = reducedShape(shape, axes: axes, keepsAxes: true)
    let dy = try builder.reshaped(try builder.incoming(), to: kept)
    try builder.setGradient(
      of: 0, kept == shape ? dy : try builder.apply(Expand(shape: shape), [dy]))
  }
}
