// A leaky rectified linear unit whose slopes are trained. ONNX PRelu, opsets 7, 9, 16 (same semantics);
// https://onnx.ai/onnx/operators/onnx__PRelu.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = activation(x where x ≥ 0, else slope · x), elementwise, any shape (He et al. 2015).
///
/// Operands: x; slope, which broadcasts to the shape of x: [1], [channels, 1, 1], [features] …
///
/// - C1: x has a floating-point type.
/// - C2: slope has the type of x, and its shape broadcasts to that of x.
public struct PRelu: BinaryElementwise {
  public static let opcode: Opcode = "prelu"
  public static let group = OperatorGroup.activation
  public static let summary = "x where x ≥ 0, else slope · x, with an optional activation"
  public static let operands: [OperandRule] = [.required("x"), .required("slope", .scale)]
  public static let onnxName = "PRelu"

  public var activation: Activation

  public init(activation: Activation = .none) { self.activation = activation }

  public static func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar, _ slope: Scalar)
    -> Scalar
  { x >= 0 ? x : x * slope }
  public static func apply(_ x: Dimension, _ slope: Dimension) -> Dimension? { nil }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let (x, slope) = (try operand(0, of: operands), try operand(1, of: operands))
    try requireReal("C1", x)
    let isRepeated = (try? broadcast([x.shape, slope.shape], label: "C2")) == x.shape
    try require(
      "C2", slope.dtype == x.dtype && isRepeated, "slope \(slope) does not broadcast to x \(x)")
    return [TensorType(x.dtype, x.shape)]
  }

  public static let onnx = [
    ONNXBinding("PRelu") { node in
      var imported = ImportedOperator(PRelu(), operands: [0, 1])
      let (x, slope) = (try node.input(0).type.shape, try node.input(1).type.shape)
      // Before opset 7 a vector has one slope for each channel.
      if node.opset < 7, slope.rank == 1, slope != [1], x.rank > 2 {
        imported.inputShapes[1] = TensorShape(
          slope.dimensions + Array(repeating: Dimension(1), count: x.rank - 2))
      }
      return imported
    }
  ]

  /// Blocked with one slope, or one for each channel.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    guard let x = optionalOperand(0, of: operands), x.rank == 4, x.dtype.isFloatingPoint,
      let slope = optionalOperand(1, of: operands)?.shape
    else { return .plain }
    let isOne = slope.elementCount == 1
    let isChannelwise =
      slope.rank >= 3 && slope.dimensions.suffix(3) == [x.shape[1], 1, 1]
      && slope.elementCount == x.shape[1]
    return isOne || isChannelwise ? .blocked : .plain
  }
}

extension PRelu: DifferentiableOperator {
  /// With r = dy · [x > 0]: dx = r + slope · (dy − r), and the slope's is the sum of dy · min(x, 0).
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    let x = try builder.operand(0)
    if builder.wants(0) {
      let above = try builder.apply(ActivationGradient(activation: .relu), [dy, x])
      let below = try builder.apply(Subtract(), [dy, above])
      let scaled = try builder.apply(Multiply(), [below, try builder.operand(1)])
      try builder.setGradient(of: 0, try builder.apply(Add(), [above, scaled]))
    }
    if builder.wants(1) {
      let negative = try builder.apply(Minimum(), [x, try builder.scalar(0, like: x)])
      try builder.setGradient(of: 1, summing: try builder.apply(Multiply(), [dy, negative]))
    }
  }
}
