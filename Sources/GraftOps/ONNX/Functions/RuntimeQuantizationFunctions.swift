// onnxruntime's own operators on quantized numbers (domain com.microsoft), as `quantize_static` writes them with
// QuantFormat.QOperator; https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
// Each is the operator on the real numbers between what its scales say.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  private static let runtimeDomain = "com.microsoft"

  /// A function of one quantized operand: x, its scale and zero point, the result's scale and zero point.
  private static func unary(
    _ opType: String,
    _ operation: @escaping @Sendable (inout FunctionBuilder) throws -> any Operator
  ) -> ONNXFunction {
    ONNXFunction(opType, domain: runtimeDomain) { f in
      guard try !f.node.flag("channels_last", default: false) else {
        throw GraftError(.unsupported, "channels_last")
      }
      let dtype = try f.input(0).type.dtype
      let x = try f.dequantized(0, scale: 1, zero: 2, axis: 0)
      let y = try f.apply(try operation(&f), x)
      return [try f.quantized(y, scale: 3, zero: 4, as: dtype)]
    }
  }

  /// A function of two quantized operands and their scales and zero points, then those of the result.
  private static func binary(_ opType: String, _ operation: any Operator) -> ONNXFunction {
    ONNXFunction(opType, domain: runtimeDomain) { f in
      let dtype = try f.input(0).type.dtype
      let (a, b) = (
        try f.dequantized(0, scale: 1, zero: 2, axis: 0),
        try f.dequantized(3, scale: 4, zero: 5, axis: 0)
      )
      return [try f.quantized(try f.apply(operation, a, b), scale: 6, zero: 7, as: dtype)]
    }
  }

  static let runtimeQuantization: [ONNXFunction] = [
    ONNXFunction("QuantizeLinear", domain: runtimeDomain) { f in
      [try f.quantized(try f.input(0), scale: 1, zero: 2)]
    },
    ONNXFunction("DequantizeLinear", domain: runtimeDomain) { f in
      [try f.dequantized(0, scale: 1, zero: 2, axis: try f.node.int("axis", default: 1))]
    },
    binary("QLinearAdd", Add()), binary("QLinearMul", Multiply()),
    unary("QLinearSigmoid") { _ in Sigmoid() },
    unary("QLinearLeakyRelu") { f in
      LeakyRelu(alpha: try f.node.float("alpha", default: 0.01))
    },
    unary("QLinearSoftmax") { f in
      let x = try f.input(0)
      let isOld = try f.node.int("opset", default: 13) < 13
      let axis = try f.node.int("axis", default: isOld ? 1 : -1)
      return Softmax(axis: try x.shape.axis(axis), flattens: isOld)
    },
    unary("QLinearGlobalAveragePool") { _ in GlobalAveragePool() },
    unary("QLinearAveragePool") { f in
      AveragePool(
        window: try Window.readPool(f.node), ceil: try f.node.flag("ceil_mode", default: false),
        countIncludePad: try f.node.flag("count_include_pad", default: false))
    },
    unary("QLinearReduceMean") { f in
      let x = try f.input(0)
      let axes = try f.node.optionalInts("axes") ?? Array(0..<x.rank)
      return ReduceMean(
        axes: try axes.map { try x.shape.axis($0) }.sorted(),
        keepsAxes: try f.node.flag("keepdims", default: true))
    },
    ONNXFunction("QLinearConcat", domain: runtimeDomain) { f in
      let count = f.node.inputs.count
      guard count >= 5, (count - 2).isMultiple(of: 3) else {
        throw GraftError(.invalidModel, "\(count) inputs")
      }
      let dtype = try f.input(2).type.dtype
      let parts = try stride(from: 2, to: count, by: 3).map {
        try f.dequantized($0, scale: $0 + 1, zero: $0 + 2, axis: 0)
      }
      let axis = try parts[0].shape.axis(try f.node.int("axis", default: 0))
      let whole = try f.results(of: Concatenate(axis: axis), parts)[0]
      return [try f.quantized(whole, scale: 0, zero: 1, as: dtype)]
    },
    ONNXFunction("QGemm", domain: runtimeDomain) { f in
      let transposesB = try f.node.flag("transB", default: false)
      let alpha = try f.node.float("alpha", default: 1)
      let gemm = Gemm(
        alpha: alpha, transposesA: try f.node.flag("transA", default: false),
        transposesB: transposesB)
      let a = try f.dequantized(0, scale: 1, zero: 2, axis: 0)
      let b = try f.dequantized(3, scale: 4, zero: 5, axis: transposesB ? 0 : 1)
      let steps = f.stepsOfProducts(x: 1, w: 4)?.map { Float(alpha) * $0 }
      guard f.optionalInput(6) == nil || steps != nil else {
        throw GraftError(.unsupported, "a bias whose scale is computed")
      }
      let bias = try steps.flatMap { try f.bias(6, $0) }
      let y = try f.apply(gemm, a, b, bias)
      guard f.optionalInput(7) != nil else { return [y] }
      return [try f.quantized(y, scale: 7, zero: 8, as: try f.input(0).type.dtype)]
    },
  ]
}
