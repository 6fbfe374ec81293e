// The C code of arithmetic on elements of types other than float32, one number at a time. Integers wrap around
// as onnxruntime's do; what C leaves undefined (overflow, division by zero) has a value here.

import GraftIR
import GraftOps

enum ScalarFunctions {
  /// C of a function of `a_value` and `b_value`, numbers of type `type`; nil if there is none.
  static func pair(_ operation: any Operator, _ type: DataType) -> String? {
    let opcode = Swift.type(of: operation).opcode
    guard !type.isFloatingPoint else { return realPair(operation, opcode, type) }
    let (element, wide) = (type.storage.cType, type.wrapping)
    switch opcode {
    case Add.opcode, Sum.opcode: return "(\(element))((\(wide))a_value + (\(wide))b_value)"
    case Subtract.opcode: return "(\(element))((\(wide))a_value - (\(wide))b_value)"
    case Multiply.opcode: return "(\(element))((\(wide))a_value * (\(wide))b_value)"
    case Maximum.opcode: return "a_value > b_value ? a_value : b_value"
    case Minimum.opcode: return "a_value < b_value ? a_value : b_value"
    case BitwiseAnd.opcode: return "(\(element))(a_value & b_value)"
    case BitwiseOr.opcode: return "(\(element))(a_value | b_value)"
    case BitwiseXor.opcode: return "(\(element))(a_value ^ b_value)"
    case Divide.opcode:
      let negated = "b_value == (\(element))-1 ? (\(element))(0 - (\(wide))a_value) : "
      return "b_value == 0 ? 0 : \(type.isSigned ? negated : "")(\(element))(a_value / b_value)"
    case Remainder.opcode:
      guard type.isSigned else { return "b_value == 0 ? 0 : (\(element))(a_value % b_value)" }
      let truncates = (operation as? Remainder)?.truncates == true
      let rest = "(\(element))(a_value % b_value)"
      return "b_value == 0 || b_value == -1 ? 0 : "
        + (truncates
          ? rest
          : "(\(element))(\(rest) + (a_value % b_value != 0 && (a_value < 0) != (b_value < 0) "
            + "? b_value : 0))")
    case TensorPower.opcode:
      return "(\(element))\(type == .uint64 ? "to_uint64" : "to_int64")"
        + "(__builtin_pow((double)a_value, (double)b_value))"
    case BitShift.opcode:
      let most = type.byteCount * 8
      let isOutside = "\(type.isSigned ? "b_value < 0 || " : "")b_value >= \(most)"
      guard (operation as? BitShift)?.isLeft == true else {
        let rest = type.isSigned ? "(\(element))(a_value < 0 ? -1 : 0)" : "0"
        return "\(isOutside) ? \(rest) : (\(element))(a_value >> b_value)"
      }
      return "\(isOutside) ? 0 : (\(element))((\(wide))a_value << b_value)"
    default: return nil
    }
  }

  private static func realPair(
    _ operation: any Operator, _ opcode: Opcode, _ type: DataType
  ) -> String? {
    let suffix = type == .float64 ? "" : "f"
    switch opcode {
    case Add.opcode, Sum.opcode: return "a_value + b_value"
    case Subtract.opcode: return "a_value - b_value"
    case Multiply.opcode: return "a_value * b_value"
    case Divide.opcode: return "a_value / b_value"
    case Maximum.opcode: return "a_value > b_value || a_value != a_value ? a_value : b_value"
    case Minimum.opcode: return "a_value < b_value || a_value != a_value ? a_value : b_value"
    case TensorPower.opcode: return "__builtin_pow\(suffix)(a_value, b_value)"
    case Remainder.opcode:
      let rest = "__builtin_fmod\(suffix)(a_value, b_value)"
      guard (operation as? Remainder)?.truncates != true else { return rest }
      return "\(rest) + (\(rest) != 0 && (\(rest) < 0) != (b_value < 0) ? b_value : 0)"
    default: return nil
    }
  }

  /// C of a function of `a_value`, a number of type `type`; nil if there is none.
  static func unary(_ operation: any UnaryElementwise, _ type: DataType) -> String? {
    let opcode = Swift.type(of: operation).opcode
    guard type.isFloatingPoint else {
      let (element, wide) = (type.storage.cType, type.wrapping)
      switch opcode {
      case Negate.opcode: return "(\(element))(0 - (\(wide))a_value)"
      case AbsoluteValue.opcode:
        return type.isSigned
          ? "a_value < 0 ? (\(element))(0 - (\(wide))a_value) : a_value" : "a_value"
      case Sign.opcode: return "(\(element))((a_value > 0) - (a_value < 0))"
      case Floor.opcode, Ceiling.opcode: return "a_value"
      default: return nil
      }
    }
    let suffix = type == .float64 ? "" : "f"
    switch opcode {
    case Power.opcode:
      guard let exponent = (operation as? Power)?.exponent, exponent.isFinite else { return nil }
      return exponent == 2 ? "a_value * a_value" : "__builtin_pow\(suffix)(a_value, \(exponent))"
    case Sigmoid.opcode: return "1 / (1 + __builtin_exp\(suffix)(-a_value))"
    case Negate.opcode: return "-a_value"
    case Reciprocal.opcode: return "1 / a_value"
    case Sign.opcode: return "a_value > 0 ? 1 : a_value < 0 ? -1 : a_value"
    case Relu.opcode: return "a_value < 0 ? 0 : a_value"
    default:
      return library[opcode].map { "__builtin_\($0)\(suffix)(a_value)" }
    }
  }

  /// The functions of C's library.
  private static let library: [Opcode: String] = [
    AbsoluteValue.opcode: "fabs", Floor.opcode: "floor", Ceiling.opcode: "ceil",
    Round.opcode: "rint", SquareRoot.opcode: "sqrt", Exponential.opcode: "exp",
    Logarithm.opcode: "log", Sine.opcode: "sin", Cosine.opcode: "cos", Tanh.opcode: "tanh",
    ErrorFunction.opcode: "erf", Tangent.opcode: "tan", ArcSine.opcode: "asin",
    ArcCosine.opcode: "acos", ArcTangent.opcode: "atan", HyperbolicSine.opcode: "sinh",
    HyperbolicCosine.opcode: "cosh", InverseHyperbolicSine.opcode: "asinh",
    InverseHyperbolicCosine.opcode: "acosh", InverseHyperbolicTangent.opcode: "atanh",
  ]
}

extension DataType {
  /// The C type in which integers of this type wrap around: unsigned, and not narrower than int.
  fileprivate var wrapping: String { byteCount == 8 ? "unsigned long long" : "unsigned" }
}
