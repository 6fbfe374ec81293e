// ONNX's norms and sums of squares over axes, as sums of Graft's. Of constants Reduction computes them.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let reductions: [ONNXFunction] = [
    reduction("ReduceL1") { f, x, sum in try sum(&f, try f.apply(AbsoluteValue(), x)) },
    reduction("ReduceL2") { f, x, sum in
      try f.apply(SquareRoot(), try sum(&f, try f.apply(Multiply(), x, x)))
    },
    reduction("ReduceSumSquare") { f, x, sum in try sum(&f, try f.apply(Multiply(), x, x)) },
    reduction("ReduceLogSum") { f, x, sum in try f.apply(Logarithm(), try sum(&f, x)) },
    /// max + log Σ exp(x − max), with a finite number in the place of an infinite maximum.
    ONNXFunction("ReduceLogSumExp") { f in
      let x = try f.input(0)
      guard x.type.dtype.isFloatingPoint else { return nil }
      let (listed, keepsAxes) = try f.node.reduction(axesAreInputFrom: 18)
      try f.node.refuseBatch(among: listed ?? [])
      guard let axes = listed, !axes.isEmpty else { return [try f.apply(Identity(), x)] }
      let most = try f.apply(Reduction(.max, axes: axes), x)
      // The largest number of the type; float64's are clipped to float32's.
      let finite =
        switch x.type.dtype {
        case .float16: 65504.0
        case .bfloat16: 0x1.FEp127
        default: Double(Float.greatestFiniteMagnitude)
        }
      let shift = try f.apply(
        Minimum(), try f.apply(Maximum(), most, try f.scalar(-finite, like: x)),
        try f.scalar(finite, like: x))
      let powers = try f.apply(Exponential(), try f.apply(Subtract(), x, shift))
      let sum = try f.apply(ReduceSum(axes: axes, keepsAxes: true), powers)
      let result = try f.apply(Add(), shift, try f.apply(Logarithm(), sum))
      return [
        try f.reshape(result, to: reducedShape(x.shape, axes: axes, keepsAxes: keepsAxes))
      ]
    },
  ]

  private typealias Sum = (inout FunctionBuilder, FunctionBuilder.Term) throws ->
    FunctionBuilder.Term

  private static func reduction(
    _ opType: String,
    _ build:
      @escaping @Sendable (inout FunctionBuilder, FunctionBuilder.Term, Sum) throws ->
      FunctionBuilder.Term
  ) -> ONNXFunction {
    ONNXFunction(opType) { f in
      let x = try f.input(0)
      let isReal = x.type.dtype.isFloatingPoint
      // Roots and logarithms of integers are not integers.
      guard isReal || ["ReduceL1", "ReduceSumSquare"].contains(opType) else { return nil }
      let (axes, keepsAxes) = try f.node.reduction(axesAreInputFrom: 18)
      try f.node.refuseBatch(among: axes ?? [])
      return [
        try build(&f, x) { f, terms in
          guard let axes, !axes.isEmpty else { return terms }
          return try isReal
            ? f.apply(ReduceSum(axes: axes, keepsAxes: keepsAxes), terms)
            : f.apply(Reduction(.sum, axes: axes, keepsAxes: keepsAxes), terms)
        }
      ]
    }
  }
}
