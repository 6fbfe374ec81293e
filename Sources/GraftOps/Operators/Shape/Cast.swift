// Another element type. ONNX Cast, opsets 6, 9, 13, 19, 21; https://onnx.ai/onnx/operators/onnx__Cast.html

import GraftDiagnostics
import GraftIR

/// y = x as elements of ``dtype``. Floating-point numbers become integers by cutting off, booleans are
/// what is not 0, and integers wrap round.
public struct Cast: ONNXExportable {
  public static let opcode: Opcode = "cast"
  public static let group = OperatorGroup.movement
  public static let summary = "converts the element type"
  public static let operands: [OperandRule] = [.required("x")]
  public var isElementwise: Bool { true }
  public var keepsValues: Bool { dtype.isFloatingPoint }
  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    node.keepsType ? .operand(0) : nil
  }

  public var dtype: DataType

  public init(to dtype: DataType) { self.dtype = dtype }
  public init(attributes: Attributes) throws { dtype = try attributes.type("dtype") }
  public var attributes: Attributes { ["dtype": .type(dtype)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    [TensorType(dtype, try operand(0, of: operands).shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let x):
      return [
        dtype.isFloatingPoint
          ? .float32(x.map { dtype.nearest(to: $0) }) : .integer(try x.map(integer))
      ]
    case .float64(let x):
      return [
        dtype.isFloatingPoint
          ? .float64(x.map { dtype.nearest(to: $0) }) : .integer(try x.map(integer))
      ]
    case .integer(let x):
      guard dtype.isFloatingPoint else { return [.integer(try x.map(wrap))] }
      let reals = try x.map { value -> Double in
        guard let constant = value.constant else { throw unknown(value) }
        return dtype.nearest(to: Double(constant))
      }
      return [.float64(reals)]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  /// Shape values remain integers for any type.
  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? {
    guard let x = values.first ?? nil else { return nil }
    return [dtype.isFloatingPoint ? x : try x.map(wrap)]
  }

  private func integer<Scalar: BinaryFloatingPoint>(_ x: Scalar) throws -> Dimension {
    if dtype == .bool { return Dimension(x == 0 ? 0 : 1) }
    guard let whole = Int(exactly: x.rounded(.towardZero)) else {
      throw GraftError(.invalidData, "\(x) is not an integer")
    }
    return try wrap(Dimension(whole))
  }

  private func wrap(_ x: Dimension) throws -> Dimension {
    if dtype == .bool { return Dimension(x == 0 ? 0 : 1) }
    guard let value = x.constant else {
      guard [.int64, .int32, .uint64, .uint32].contains(dtype) else { throw unknown(x) }
      return x
    }
    switch dtype {
    case .int32: return Dimension(Int(Int32(truncatingIfNeeded: value)))
    case .int16: return Dimension(Int(Int16(truncatingIfNeeded: value)))
    case .int8: return Dimension(Int(Int8(truncatingIfNeeded: value)))
    case .uint32: return Dimension(Int(UInt32(truncatingIfNeeded: value)))
    case .uint16: return Dimension(Int(UInt16(truncatingIfNeeded: value)))
    case .uint8: return Dimension(Int(UInt8(truncatingIfNeeded: value)))
    default: return x
    }
  }

  private func unknown(_ value: Dimension) -> GraftError {
    GraftError(.unsupported, "\(value) as \(dtype.rawValue) is not known at compile time")
  }

  public static let onnx = [
    ONNXBinding("Cast") { node in
      let code =
        try node.opset < 6
        ? DataType.onnxCode(named: node.string("to", default: "UNDEFINED"))
        : node.int("to", default: 0)
      guard let dtype = DataType(onnx: code) else {
        throw GraftError(
          .unsupported,
          "a cast to \(DataType.onnxName(code)), an element type that Graft does not support")
      }
      guard try node.input(0).type.dtype != dtype else {
        return ImportedOperator(Identity(), operands: [0])
      }
      return ImportedOperator(Cast(to: dtype), operands: [0])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator("Cast", attributes: [("to", .int(dtype.onnxCode))], inputs: [.operand(0)])
  }
}

extension Cast: DifferentiableOperator {
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let x = builder.type(of: try builder.operand(0))
    guard x.dtype.isFloatingPoint, dtype.isFloatingPoint else {
      throw GraftError(.unsupported, "the gradient of a cast from \(x) to \(dtype.rawValue)")
    }
    try builder.setGradient(
      of: 0, try builder.apply(Cast(to: x.dtype), [try builder.incoming()]))
  }
}
