// How a fused activation reads in C and in a kernel's name.

import GraftOps

extension Activation {
  /// The C expression that applies it to the vector `value`; the functions are in kernels.h.
  func expression(_ value: String) -> String {
    switch self {
    case .none: "unchanged(\(value))"
    case .relu: "relu(\(value))"
    case .clip(let low, let high):
      // clip looks at the lower limit first; where the limits cross, the upper one is the result.
      "clip(\(value), \(CText.float(min(low, high))), \(CText.float(high)))"
    case .leakyRelu(let alpha): "leaky_relu(\(value), \(CText.float(alpha)))"
    case .sigmoid: "sigmoid(\(value))"
    case .tanh: "tanh_of(\(value))"
    case .hardSigmoid(let alpha, let beta):
      "hard_sigmoid(\(value), \(CText.float(alpha)), \(CText.float(beta)))"
    case .hardSwish: "hard_swish(\(value))"
    case .silu: "silu(\(value))"
    }
  }

  /// The part of a kernel's name that speaks of it; empty for none.
  var nameSuffix: String {
    switch self {
    case .none: ""
    case .relu: "_relu"
    case .clip: "_clip"
    case .leakyRelu: "_leaky_relu"
    case .sigmoid: "_sigmoid"
    case .tanh: "_tanh"
    case .hardSigmoid: "_hard_sigmoid"
    case .hardSwish: "_hard_swish"
    case .silu: "_silu"
    }
  }
}
