// The C code of every elementwise operator, one table row each. Called functions are in kernels.h.

import GraftIR
import GraftOps

/// The C of an elementwise function of one value.
struct UnaryRow: Sendable {
  let opcode: Opcode
  /// C of the function of the vector that the text names.
  let value: @Sendable (any UnaryElementwise, String) -> String?
  /// C of the incoming gradient `a_value` times the derivative, from `b_value`: the function's result or its
  /// argument, as its operator says. Of those that kernels fuse.
  let gradient: @Sendable (any UnaryElementwise) -> String?

  static func row<Function: UnaryElementwise>(
    _ type: Function.Type, _ value: @escaping @Sendable (Function, String) -> String,
    gradient: (@Sendable (Function) -> String)? = nil
  ) -> UnaryRow {
    UnaryRow(
      opcode: type.opcode, value: { function, x in (function as? Function).map { value($0, x) } },
      gradient: { function in (function as? Function).flatMap { gradient?($0) } })
  }
}

/// The tables, by opcode.
enum ElementFunctions {
  static let unary: [Opcode: UnaryRow] = Dictionary(
    (activations + arithmetic).map { ($0.opcode, $0) }, uniquingKeysWith: { first, _ in first })

  private static func c(_ number: Double) -> String { CText.float(number) }

  /// Activations that kernels fuse. Each must be finite at 0, because lanes past the last channel contain
  /// zeros.
  private static let activations: [UnaryRow] = [
    .row(
      Relu.self, { "relu(\($1))" },
      gradient: { _ in "pick(b_value > splat(0.0f), a_value, splat(0.0f))" }),
    .row(
      Clip.self,
      // clip applies the lower limit first; if the limits cross, the result is the upper one.
      { "clip(\($1), \(c(min($0.low, $0.high))), \(c($0.high)))" },
      gradient: {
        "pick((b_value > splat(\(c($0.low)))) & (b_value < splat(\(c($0.high)))), a_value, "
          + "splat(0.0f))"
      }),
    .row(
      LeakyRelu.self, { "leaky_relu(\($1), \(c($0.alpha)))" },
      gradient: { "pick(b_value > splat(0.0f), a_value, a_value * \(c($0.alpha)))" }),
    .row(
      Sigmoid.self, { "sigmoid(\($1))" }, gradient: { _ in "a_value * b_value * (1.0f - b_value)" }),
    .row(
      Tanh.self, { "tanh_of(\($1))" }, gradient: { _ in "a_value * (1.0f - b_value * b_value)" }),
    .row(
      HardSigmoid.self, { "hard_sigmoid(\($1), \(c($0.alpha)), \(c($0.beta)))" },
      gradient: {
        "pick((b_value > splat(0.0f)) & (b_value < splat(1.0f)), "
          + "a_value * \(c($0.alpha)), splat(0.0f))"
      }),
    .row(
      HardSwish.self, { "hard_swish(\($1))" },
      gradient: { _ in "a_value * hard_swish_slope(b_value)" }),
    .row(Silu.self, { "silu(\($1))" }, gradient: { _ in "a_value * silu_slope(b_value)" }),
    .row(
      Gelu.self, { $0.usesTanh ? "gelu_by_tanh(\($1))" : "gelu(\($1))" },
      gradient: {
        $0.usesTanh ? "a_value * gelu_by_tanh_slope(b_value)" : "a_value * gelu_slope(b_value)"
      }),
  ]

  private static let arithmetic: [UnaryRow] = [
    .row(Elu.self, { "elu(\($1), \(c($0.alpha)))" }),
    .row(Softplus.self, { "relu(\($1)) + log_one_plus(exp_of(-absolute(\($1))))" }),
    .row(Softsign.self, { "\($1) / (1.0f + absolute(\($1)))" }),
    .row(Mish.self, { "\($1) * tanh_of(relu(\($1)) + log_one_plus(exp_of(-absolute(\($1)))))" }),
    .row(Selu.self, { "\(c($0.gamma)) * elu(\($1), \(c($0.alpha)))" }),
    .row(
      Celu.self,
      {
        "pick(\($1) < splat(0.0f), \(c($0.alpha)) * (exp_of(\($1) / \(c($0.alpha))) - 1.0f), \($1))"
      }),
    .row(ThresholdedRelu.self, { "pick(\($1) > splat(\(c($0.alpha))), \($1), splat(0.0f))" }),
    .row(Power.self, { power($0.exponent, of: $1) }),
    .row(Exponential.self, { "exp_of(\($1))" }),
    .row(Logarithm.self, { "log_of(\($1))" }),
    .row(Sine.self, { "__builtin_elementwise_sin(\($1))" }),
    .row(Cosine.self, { "__builtin_elementwise_cos(\($1))" }),
    .row(Tangent.self, { "tan_of(\($1))" }),
    .row(ArcSine.self, { "asin_of(\($1))" }),
    .row(ArcCosine.self, { "acos_of(\($1))" }),
    .row(ArcTangent.self, { "atan_of(\($1))" }),
    .row(HyperbolicSine.self, { "sinh_of(\($1))" }),
    .row(HyperbolicCosine.self, { "cosh_of(\($1))" }),
    .row(InverseHyperbolicSine.self, { "asinh_of(\($1))" }),
    .row(InverseHyperbolicCosine.self, { "acosh_of(\($1))" }),
    .row(InverseHyperbolicTangent.self, { "atanh_of(\($1))" }),
    .row(
      Sign.self,
      { "pick(\($1) > splat(0.0f), splat(1.0f), pick(\($1) < splat(0.0f), splat(-1.0f), \($1)))" }),
    .row(Round.self, { "__builtin_elementwise_roundeven(\($1))" }),
    .row(SquareRoot.self, { "__builtin_elementwise_sqrt(\($1))" }),
    .row(Reciprocal.self, { "1.0f / \($1)" }),
    .row(Negate.self, { "-\($1)" }),
    .row(AbsoluteValue.self, { "absolute(\($1))" }),
    .row(Floor.self, { "__builtin_elementwise_floor(\($1))" }),
    .row(Ceiling.self, { "__builtin_elementwise_ceil(\($1))" }),
    .row(
      RoundTo.self, { "\($0.dtype == .float16 ? "nearest_float16" : "nearest_bfloat16")(\($1))" }),
    .row(ErrorFunction.self, { "error_function(\($1))" }),
  ]

  private static func power(_ exponent: Double, of x: String) -> String {
    let largest = Double(Float.greatestFiniteMagnitude)
    return switch exponent {
    case 0: "((void)\(x), splat(1.0f))"
    case 2: "\(x) * \(x)"
    case 0.5: "__builtin_elementwise_sqrt(\(x))"
    // The largest finite float has the same effect as an infinite exponent.
    default: "power_of(\(x), \(c(max(-largest, min(largest, exponent)))))"
    }
  }

  /// C of the functions of two vectors, `a_value` and `b_value`; those of more operands apply it to the
  /// result so far and the next operand.
  static let pairs: [Opcode: String] = [
    Add.opcode: "a_value + b_value", Subtract.opcode: "a_value - b_value",
    Multiply.opcode: "a_value * b_value", Divide.opcode: "a_value / b_value",
    Sum.opcode: "a_value + b_value", Maximum.opcode: "largest(a_value, b_value)",
    Minimum.opcode: "smallest(a_value, b_value)",
    PRelu.opcode: "pick(a_value < splat(0.0f), a_value * b_value, a_value)",
  ]
}

extension Activation {
  /// The C expression that applies it to the vector `value`.
  func expression(_ value: String) -> String {
    guard let function else { return "unchanged(\(value))" }
    return ElementFunctions.unary[type(of: function).opcode]?.value(function, value)
      ?? "\(name)(\(value))"
  }

  /// C of the incoming gradient `a_value` times its derivative; nil if the table has none.
  var gradientExpression: String? {
    guard let function else { return "a_value" }
    return ElementFunctions.unary[type(of: function).opcode]?.gradient(function)
  }

  /// Its part of a kernel's name; empty for none.
  var nameSuffix: String { function == nil ? "" : "_\(name)" }
}
