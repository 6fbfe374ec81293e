// Rounding to a narrower floating-point type without storing in it. The pass that brings networks written
// in float16 to float32 puts it where the file casts; ONNX has no such operator.

import GraftDiagnostics
import GraftIR
import RealModule

/// y is the number of ``dtype``, float16 or bfloat16, that is nearest to x, ties to even; past the
/// largest, infinity. x and y keep their element type.
public struct RoundTo: UnaryElementwise {
  public static let opcode: Opcode = "round_to"
  public static let group = OperatorGroup.movement
  public static let summary = "x rounded to a narrower floating-point type"
  public static let onnxName: String? = nil

  public let dtype: DataType

  /// Nil for unsupported types.
  public init?(_ dtype: DataType) {
    guard dtype.isNarrow else { return nil }
    self.dtype = dtype
  }

  public init(attributes: Attributes) throws {
    dtype = try attributes.type("dtype")
    guard dtype.isNarrow else {
      throw GraftError(
        .invalidGraph, "attribute \"dtype\" must be f16 or bf16, found \(dtype.rawValue)")
    }
  }

  public var attributes: Attributes { ["dtype": .type(dtype)] }

  public var keepsValues: Bool { true }

  /// ONNX rounds by a cast there and back.
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    let x = try builder.operand(0)
    let narrow = try builder.apply(Cast(to: dtype), [x])
    return try builder.apply(Cast(to: builder.type(of: x).dtype), [narrow])
  }

  public func apply<Scalar: Real & BinaryFloatingPoint>(_ x: Scalar) -> Scalar {
    dtype.nearest(to: x)
  }
}

extension DataType {
  /// Whether it is a floating-point type narrower than float32, which kernels compute in.
  public var isNarrow: Bool { self == .float16 || self == .bfloat16 }

  /// The number of this type that is nearest to `x`, ties to even; `x` itself for integer types.
  func nearest<Scalar: BinaryFloatingPoint>(to x: Scalar) -> Scalar {
    switch self {
    case .float32: return Scalar(Float(x))
    case .float16: return Scalar(Float16(x))
    case .bfloat16:
      guard !x.isNaN else { return x }
      return Scalar(Float(bitPattern: UInt32(Float(x).bfloat16Bits) << 16))
    default: return x
    }
  }
}
