// Quantized numbers, and products of them. Products of whole numbers below 2²⁴ are exact in float32, so longer sums
// are taken in parts and added up as int32.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let quantization: [ONNXFunction] = [
    /// ONNX QuantizeLinear, opsets 10, 13 (axis), 21 (blocks), 23;
    /// https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
    ONNXFunction("QuantizeLinear", since: 10) { f in
      [try f.quantized(try f.input(0), scale: 1, zero: 2)]
    },
    /// ONNX DequantizeLinear, opsets 10, 13 (axis), 21 (blocks), 23;
    /// https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
    ONNXFunction("DequantizeLinear", since: 10) { f in
      [try f.dequantized(0, scale: 1, zero: 2, axis: try f.node.int("axis", default: 1))]
    },
    /// ONNX DynamicQuantizeLinear, opset 11: uint8 over the range of all elements, with 0;
    /// https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html
    ONNXFunction("DynamicQuantizeLinear", since: 11) { f in
      let x = try f.input(0)
      try requireReal("ONNX", x.type)
      let all = Array(0..<x.rank)
      let zero = try f.scalar(0, like: x)
      let low = try f.apply(
        Minimum(), try f.apply(Reduction(.min, axes: all, keepsAxes: false), x), zero)
      let high = try f.apply(
        Maximum(), try f.apply(Reduction(.max, axes: all, keepsAxes: false), x), zero)
      let scale = try f.apply(
        Divide(), try f.apply(Subtract(), high, low), try f.scalar(255, like: x))
      // All elements are 0: any step gives 0.
      let step = try f.apply(
        Where(), try f.apply(Equal(), scale, zero), try f.scalar(1, like: x), scale)
      let offset = try f.apply(
        Clip(low: 0, high: 255),
        try f.apply(Round(), try f.apply(Divide(), try f.apply(Subtract(), zero, low), step)))
      return [
        try f.rounded(try f.apply(Divide(), x, step), offset, to: .uint8), scale,
        try f.cast(offset, to: .uint8),
      ]
    },
    /// ONNX MatMulInteger, opset 10; https://onnx.ai/onnx/operators/onnx__MatMulInteger.html
    ONNXFunction("MatMulInteger", since: 10) { f in
      [
        try f.wholeProduct(
          try f.whole(0, zero: 2, isColumn: true), try f.whole(1, zero: 3, isColumn: false))
      ]
    },
    /// ONNX QLinearMatMul, opsets 10, 21; https://onnx.ai/onnx/operators/onnx__QLinearMatMul.html
    ONNXFunction("QLinearMatMul", since: 10) { f in
      if try f.isStatedInBytes((0, 1, 2), weights: (3, 4, 5), result: (6, 7)) {
        let b = try f.input(3)
        let product = try f.apply(
          MatrixMultiply(), try f.dequantized(0, scale: 1, zero: 2, axis: 0),
          try f.dequantized(3, scale: 4, zero: 5, axis: b.rank - 1))
        return [try f.quantized(product, scale: 6, zero: 7)]
      }
      let product = try f.wholeProduct(
        try f.whole(0, zero: 2, isColumn: true), try f.whole(3, zero: 5, isColumn: false))
      let (a, b, y) = (try f.input(1), try f.input(4), try f.input(6))
      // The scale of rows of a goes along the last axis but one.
      let rows = a.rank == 1 && a.shape[0] != 1 ? try f.reshape(a, to: [a.shape[0], 1]) : a
      let factor = try f.apply(Divide(), try f.apply(Multiply(), rows, b), y)
      let zero = try f.input(7)
      return [
        try f.rounded(
          try f.apply(Multiply(), try f.cast(product, to: factor.type.dtype), factor),
          try f.cast(zero, to: factor.type.dtype), to: zero.type.dtype)
      ]
    },
    /// ONNX ConvInteger, opset 10; https://onnx.ai/onnx/operators/onnx__ConvInteger.html
    ONNXFunction("ConvInteger", since: 10) { f in
      [try f.wholeConvolution(x: 0, zero: 2, w: 1, zero: 3)]
    },
    /// ONNX QLinearConv, opset 10; https://onnx.ai/onnx/operators/onnx__QLinearConv.html
    ONNXFunction("QLinearConv", since: 10) { f in
      if try f.isStatedInBytes((0, 1, 2), weights: (3, 4, 5), bias: 8, result: (6, 7)) {
        return [try f.statedConvolution()]
      }
      var sum = try f.wholeConvolution(x: 0, zero: 2, w: 3, zero: 5)
      if let bias = f.optionalInput(8) {
        guard bias.rank == 1 else {
          throw GraftError(.invalidModel, "the bias \(bias.type) must be a vector")
        }
        sum = try f.apply(Add(), sum, try f.reshape(bias, to: [bias.shape[0], 1, 1]))
      }
      let (x, w, y, zero) = (try f.input(1), try f.input(4), try f.input(6), try f.input(7))
      let channels =
        w.rank == 1 && w.shape[0] != 1 ? try f.reshape(w, to: [w.shape[0], 1, 1]) : w
      let factor = try f.apply(Divide(), try f.apply(Multiply(), channels, x), y)
      return [
        try f.rounded(
          try f.apply(Multiply(), try f.cast(sum, to: factor.type.dtype), factor),
          try f.cast(zero, to: factor.type.dtype), to: zero.type.dtype)
      ]
    },
  ]

  /// Products of two numbers up to 255 in size of which sums are below 2²⁴.
  fileprivate static let exactProducts = 258
}

extension FunctionBuilder {
  /// Whole numbers of a type: the nearest to `x` plus an offset, and the limits of the type beyond them.
  mutating func rounded(
    _ x: Term, _ offset: Term?, to dtype: DataType
  ) throws -> Term {
    let limits: [DataType: (Double, Double)] = [
      .int8: (-128, 127), .uint8: (0, 255), .int16: (-32768, 32767), .uint16: (0, 65535),
    ]
    guard let (low, high) = limits[dtype], x.type.dtype.isFloatingPoint else {
      throw GraftError(.unsupported, "\(x.type) quantized to \(dtype.rawValue)")
    }
    var rounded = try apply(Round(), x)
    if let offset { rounded = try apply(Add(), rounded, offset) }
    return try cast(try apply(Clip(low: low, high: high), rounded), to: dtype)
  }

  /// A scale or a zero point so that it broadcasts to `x`: one for all, one for each index of the node's axis, or one
  /// for each block along it.
  mutating func quantizer(_ value: Term, for x: Term) throws -> Term {
    if value.rank == 0 { return value }
    if value.rank == 1, value.shape[0] == 1 { return try reshape(value, to: []) }
    let axis = try x.shape.axis(try node.int("axis", default: 1))
    let block = try node.int("block_size", default: 0)
    if block == 0 {
      guard value.rank == 1, value.shape[0] == x.shape[axis] else {
        throw GraftError(.invalidModel, "\(value.type) for axis \(axis) of \(x.type)")
      }
      return try reshape(
        value,
        to: TensorShape([value.shape[0]] + Array(repeating: 1, count: x.rank - 1 - axis)))
    }
    guard value.rank == x.rank, let extent = x.shape[axis].constant,
      let count = value.shape[axis].constant, block > 0, extent >= 1,
      count == (extent - 1) / block + 1
    else {
      throw GraftError(.invalidModel, "\(value.type) for blocks of \(block) of \(x.type)")
    }
    let (each, overflow) = count.multipliedReportingOverflow(by: block)
    guard !overflow else { throw GraftError(.invalidModel, "blocks of \(block) of \(x.type)") }
    var shape = value.shape.dimensions
    shape.insert(1, at: axis + 1)
    let narrow = try reshape(value, to: TensorShape(shape))
    shape[axis + 1] = Dimension(block)
    let wide = try expanded(narrow, to: TensorShape(shape))
    var whole = value.shape
    whole[axis] = Dimension(each)
    let all = try reshape(wide, to: whole)
    return each == extent
      ? all : try apply(Slice(axes: [axis], starts: [0], extents: [extent], steps: [1]), all)
  }

  /// Input `index` of 8 bits less its zero point, in float32.
  /// - Parameter isColumn: whether several zero points are for rows, else for columns.
  fileprivate mutating func whole(_ index: Int, zero: Int, isColumn: Bool) throws -> Term {
    let x = try input(index)
    guard [.int8, .uint8].contains(x.type.dtype) else {
      throw GraftError(.unsupported, "products of \(x.type)")
    }
    let real = try cast(x, to: .float32)
    guard let offset = optionalInput(zero) else { return real }
    var point = try cast(offset, to: .float32)
    if point.rank == 1, point.shape[0] != 1, isColumn {
      point = try reshape(point, to: [point.shape[0], 1])
    }
    return try apply(Subtract(), real, point)
  }

  /// The product of matrices of whole numbers, as int32.
  fileprivate mutating func wholeProduct(_ a: Term, _ b: Term) throws -> Term {
    guard a.rank >= 1, b.rank >= 1, let depth = a.shape[a.rank - 1].constant, depth >= 1 else {
      throw GraftError(.unsupported, "a product of \(a.type) and \(b.type)")
    }
    let axis = max(0, b.rank - 2)
    guard b.shape[axis] == Dimension(depth) else {
      throw GraftError(.invalidModel, "a product of \(a.type) and \(b.type)")
    }
    return try inParts(of: depth) { f, start, count in
      func part(_ x: Term, _ axis: Int) throws -> Term {
        count == depth
          ? x
          : try f.apply(
            Slice(axes: [axis], starts: [start], extents: [count], steps: [1]), x)
      }
      return try f.apply(MatrixMultiply(), try part(a, a.rank - 1), try part(b, axis))
    }
  }

  /// A convolution of whole numbers, as int32.
  fileprivate mutating func wholeConvolution(
    x: Int, zero xZero: Int, w: Int, zero wZero: Int
  ) throws -> Term {
    let image = try whole(x, zero: xZero, isColumn: false)
    var kernels = try cast(try input(w), to: .float32)
    if let offset = optionalInput(wZero) {
      var point = try cast(offset, to: .float32)
      if point.rank == 1, point.shape[0] != 1 {
        point = try reshape(point, to: [point.shape[0], 1, 1, 1])
      }
      kernels = try apply(Subtract(), kernels, point)
    }
    guard image.rank == 4, let weights = kernels.shape.constants, weights.count == 4,
      weights.allSatisfy({ $0 >= 1 })
    else { throw GraftError(.unsupported, "a convolution of \(image.type) by \(kernels.type)") }
    let groups = try node.int("group", default: 1)
    let taps = saturatingProduct(Array(weights[2...]))
    let each = ONNXFunction.exactProducts / taps
    guard each >= (groups == 1 ? 1 : weights[1]) else {
      throw GraftError(
        .unsupported, "a convolution of whole numbers with \(weights[1]) channels of \(taps) taps")
    }
    var seen = node
    seen.inputs = [ONNXNode.Input(type: image.type), ONNXNode.Input(type: kernels.type)]
    let window = try Window.read(seen, kernel: Array(weights[2...]))
    let convolution = Convolution(
      strides: window.strides, pads: window.pads, dilations: window.dilations, groups: groups)
    return try inParts(of: weights[1], each: each) { f, start, count in
      func part(_ x: Term) throws -> Term {
        count == weights[1]
          ? x
          : try f.apply(Slice(axes: [1], starts: [start], extents: [count], steps: [1]), x)
      }
      return try f.apply(convolution, try part(image), try part(kernels))
    }
  }

  /// The sum, as int32, of what `body` gives for parts of an axis.
  private mutating func inParts(
    of extent: Int, each: Int = ONNXFunction.exactProducts,
    _ body: (inout FunctionBuilder, _ start: Int, _ count: Int) throws -> Term
  ) throws -> Term {
    guard extent / each < 1 << 10 else {
      throw GraftError(.unsupported, "sums of \(extent) products of whole numbers")
    }
    var sum: Term?
    for start in stride(from: 0, to: extent, by: each) {
      let part = try cast(try body(&self, start, min(each, extent - start)), to: .int32)
      sum = try sum.map { try apply(Add(), $0, part) } ?? part
    }
    guard let sum else { throw GraftError(.unsupported, "a sum of nothing") }
    return sum
  }
}
