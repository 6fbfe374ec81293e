// ONNX operators that work element by element and are made of Graft's own.

import Foundation
import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let elementwise: [ONNXFunction] = [
    // NaN is neither greater nor equal, which `not less` would not say.
    ONNXFunction("GreaterOrEqual", since: 12) { f in
      let (a, b) = (try f.input(0), try f.input(1))
      return [
        try f.apply(LogicalOr(), try f.apply(Greater(), a, b), try f.apply(Equal(), a, b))
      ]
    },
    ONNXFunction("LessOrEqual", since: 12) { f in
      let (a, b) = (try f.input(0), try f.input(1))
      return [try f.apply(LogicalOr(), try f.apply(Less(), a, b), try f.apply(Equal(), a, b))]
    },
    ONNXFunction("IsNaN", since: 9) { f in
      let x = try f.input(0)
      return [try f.apply(LogicalNot(), try f.apply(Equal(), x, x))]
    },
    ONNXFunction("IsInf", since: 10) { f in
      let x = try f.input(0)
      try requireReal("ONNX", x.type)
      var found: [FunctionBuilder.Term] = []
      for (name, value) in [
        ("detect_positive", Double.infinity), ("detect_negative", -.infinity),
      ] where try f.node.flag(name, default: true) {
        found.append(try f.apply(Equal(), x, try f.scalar(value, like: x)))
      }
      switch found.count {
      case 2: return [try f.apply(LogicalOr(), found[0], found[1])]
      case 1: return found
      default: return [try f.apply(LogicalNot(), try f.apply(Equal(), x, x))]
      }
    },
    ONNXFunction("Mean") { f in
      let inputs = try f.node.inputs.indices.map { try f.input($0) }
      guard let first = inputs.first,
        f.node.opset >= 8 || inputs.allSatisfy({ $0.shape == first.shape })
      else { throw GraftError(.invalidModel, "Mean broadcasts only from opset 8 on") }
      let sum = inputs.count == 1 ? first : try f.results(of: Sum(), inputs)[0]
      return [
        try f.apply(Multiply(), sum, try f.scalar(1 / Double(inputs.count), like: sum))
      ]
    },
    /// x · sigmoid(alpha · x)
    ONNXFunction("Swish", since: 24) { f in
      let x = try f.input(0)
      try requireReal("ONNX", x.type)
      let alpha = try f.node.float("alpha", default: 1)
      guard alpha != 1 else { return [try f.apply(Silu(), x)] }
      let scaled = try f.apply(Multiply(), x, try f.scalar(alpha, like: x))
      return [try f.apply(Multiply(), x, try f.apply(Sigmoid(), scaled))]
    },
    /// ONNX SwiGLU, opset 28: a · sigmoid(alpha · a) · b
    ONNXFunction("SwiGLU", since: 28) { f in
      let (a, b) = (try f.input(0), try f.input(1))
      try requireReal("ONNX", a.type)
      guard a.type == b.type else {
        throw GraftError(.invalidModel, "the inputs \(a.type) and \(b.type) differ")
      }
      let alpha = try f.node.float("alpha", default: 1)
      guard alpha != 1 else { return [try f.apply(Multiply(), try f.apply(Silu(), a), b)] }
      let scaled = try f.apply(Multiply(), a, try f.scalar(alpha, like: a))
      let gate = try f.apply(Multiply(), a, try f.apply(Sigmoid(), scaled))
      return [try f.apply(Multiply(), gate, b)]
    },
    /// x − bias above lambd, x + bias below −lambd, 0 in between.
    ONNXFunction("Shrink", since: 9) { f in
      let x = try f.input(0)
      guard x.type.dtype.isFloatingPoint else { return nil }
      let lambd = try f.node.float("lambd", default: 0.5)
      let bias = try f.node.float("bias", default: 0)
      let above = try f.apply(Greater(), x, try f.scalar(lambd, like: x))
      let below = try f.apply(Less(), x, try f.scalar(-lambd, like: x))
      let inner = try f.apply(
        Where(), below, try f.apply(Add(), x, try f.scalar(bias, like: x)),
        try f.scalar(0, like: x))
      return [
        try f.apply(Where(), above, try f.apply(Subtract(), x, try f.scalar(bias, like: x)), inner)
      ]
    },
    /// A base and an exponent of two types; the result has the type of the base.
    ONNXFunction("Pow") { f in
      let (base, exponent) = (try f.input(0), try f.input(1))
      let isConstant = f.node.optionalInput(1).map { $0.data != nil || $0.integers != nil } == true
      if base.type.dtype == exponent.type.dtype
        || (base.type.dtype.isFloatingPoint && isConstant && exponent.shape.elementCount == 1)
      {
        return nil
      }
      let dtype =
        base.type.dtype.isFloatingPoint || exponent.type.dtype.isInteger
        ? base.type.dtype : exponent.type.dtype
      let power = try f.apply(
        TensorPower(), try f.cast(base, to: dtype),
        try f.cast(try f.aligned(exponent, to: base), to: dtype))
      return [try f.cast(power, to: base.type.dtype)]
    },
    /// x with all bits turned.
    ONNXFunction("BitwiseNot", since: 18) { f in
      let x = try f.input(0)
      guard x.type.dtype.isInteger else { return nil }
      let ones = MemoryBytes(Array(repeating: 0xff, count: x.type.dtype.byteCount))
      return [
        try f.apply(
          BitwiseXor(), x, f.constant(try TensorData(x.type.dtype, [], in: ones)))
      ]
    },
    /// Limits that are computed, and those of integers.
    ONNXFunction("Clip", since: 11) { f in
      let x = try f.input(0)
      let isComputed = (1...2).contains {
        f.node.optionalInput($0).map { $0.data == nil } ?? false
      }
      guard isComputed || !x.type.dtype.isFloatingPoint else { return nil }
      var y = x
      if let low = f.optionalInput(1) { y = try f.apply(Maximum(), y, low) }
      if let high = f.optionalInput(2) { y = try f.apply(Minimum(), y, high) }
      return [y.source == x.source ? try f.apply(Identity(), x) : y]
    },
    ONNXFunction("Relu", since: 14) { f in
      let x = try f.input(0)
      guard x.type.dtype.isInteger else { return nil }
      return [try f.apply(Maximum(), x, try f.scalar(0, like: x))]
    },
  ]
}
