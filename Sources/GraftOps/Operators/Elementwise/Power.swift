// A constant power. ONNX Pow, opsets 1, 7, 12, 13, 15, with a constant exponent; TensorPower has computed ones.
// https://onnx.ai/onnx/operators/onnx__Pow.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = x to the power of a constant exponent, elementwise, any shape; NaN where x is negative and
/// the exponent is not whole.
public struct Power: UnaryElementwise {
  public static let opcode: Opcode = "pow"
  public static let summary = "x to a constant power"
  public static let onnxName: String? = "Pow"

  public var exponent: Double

  public init(exponent: Double) { self.exponent = exponent }
  public init(attributes: Attributes) throws { exponent = try attributes.float("exponent") }
  public var attributes: Attributes { ["exponent": .float(exponent)] }
  public var parameters: [Double] { [exponent] }
  public var keepsValues: Bool { exponent == 1 }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    if exponent == 2 { return x * x }
    if let whole = Int(exactly: exponent) { return Scalar.pow(x, whole) }
    return Scalar.pow(x, Scalar(exponent))
  }

  public static let onnx = [
    ONNXBinding("Pow") { node in
      let (base, exponent) = (try node.input(0).type, try node.input(1))
      guard exponent.type.shape.elementCount == 1, exponent.type.rank <= base.rank,
        base.dtype.isFloatingPoint, exponent.data != nil || exponent.integers != nil,
        let constant = try node.constantScalar(1, named: "Y")
      else { return try node.broadcastingPair(TensorPower()) }
      return ImportedOperator(Power(exponent: constant.real), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let dtype = try operand(0, of: operands).dtype
    return ExportedOperator(
      "Pow",
      inputs: [
        .operand(0), .constant(try ScalarConstant.real(exponent).data(dtype, shape: [])),
      ])
  }
}

extension Power: DifferentiableOperator {
  /// dx = dy · exponent · x^(exponent − 1)
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let power = try builder.apply(Power(exponent: exponent - 1), [try builder.operand(0)])
    let product = try builder.apply(Multiply(), [try builder.incoming(), power])
    try builder.setGradient(of: 0, try builder.scaled(product, by: exponent))
  }
}
