// Numbers that a node says are quantized: as the operators that say so where scales and zero points are known, so that
// passes can put what lies between them on bytes, else as arithmetic.

import GraftDiagnostics
import GraftIR

extension FunctionBuilder {
  /// What says how an input is quantized: its index, and those of its scale and zero point.
  typealias QuantizedInput = (x: Int, scale: Int, zero: Int)

  /// The data of input `index`, if it is a constant of the file.
  private func data(_ index: Int) -> TensorData? { node.optionalInput(index)?.data }

  /// The quantization of 8-bit elements with one known scale; nil where operators on bytes do not have it.
  /// - Throws: ``GraftError`` of kind `invalidModel` for a zero point of another type.
  private func quantization(
    scale: Int, zero: Int, of dtype: DataType
  ) throws -> Quantization? {
    guard [.int8, .uint8].contains(dtype), let scales = data(scale), scales.dtype == .float32,
      scales.elementCount == 1, let step = scales.floats().first, step.isNormal, step > 0
    else { return nil }
    var point = 0
    if let input = node.optionalInput(zero) {
      guard input.type.dtype == dtype else {
        throw GraftError(.invalidModel, "a zero point \(input.type) for \(dtype.rawValue)")
      }
      guard let points = input.data?.integers(), points.count == 1 else { return nil }
      point = points[0]
    }
    return Quantization(
      scale: Double(step), zero: dtype == .int8 ? point + Quantization.signShift : point)
  }

  /// - Parameter divides: whether numbers are divided by the scale.
  /// - Throws: ``GraftError`` of kind `invalidModel` for a scale that cannot be meant.
  private func checkScale(_ index: Int, divides: Bool) throws {
    guard let data = data(index), data.dtype.isFloatingPoint else { return }
    if let wrong = data.floats().first(where: { !$0.isFinite || divides && $0 == 0 }) {
      throw GraftError(
        .invalidModel, "a scale of \(wrong)",
        advice: "Quantize the network again: a scale is a positive number.")
    }
  }

  /// Whether weights are constants of 8 bits with known scales.
  private func storesWeights(_ weights: QuantizedInput) -> Bool {
    guard let w = data(weights.x), [.int8, .uint8].contains(w.dtype),
      let scales = data(weights.scale), scales.dtype == .float32, scales.shape.count <= 1
    else { return false }
    return node.optionalInput(weights.zero) == nil || data(weights.zero) != nil
  }

  /// Whether a node is a sum of products of bytes by constant weights, all scales known.
  /// - Parameters:
  ///   - x: the activations.
  ///   - bias: the index of one, which must be a constant too.
  ///   - result: the indices of the result's scale and zero point.
  func isStatedInBytes(
    _ x: QuantizedInput, weights: QuantizedInput, bias: Int? = nil,
    result: (scale: Int, zero: Int)
  ) throws -> Bool {
    if let bias, node.optionalInput(bias) != nil, data(bias) == nil { return false }
    guard let image = node.optionalInput(x.x), data(x.x) == nil,
      let zero = node.optionalInput(result.zero), storesWeights(weights)
    else { return false }
    return try quantization(scale: x.scale, zero: x.zero, of: image.type.dtype) != nil
      && quantization(scale: result.scale, zero: result.zero, of: zero.type.dtype) != nil
  }

  // MARK: From real numbers

  /// `x` as integers with the scale and zero point that are inputs of the node.
  /// - Parameter fallback: the type of the integers where there is no zero point.
  mutating func quantized(
    _ x: Term, scale: Int, zero: Int, as fallback: DataType = .uint8
  ) throws -> Term {
    let (steps, points) = (try input(scale), optionalInput(zero))
    var dtype = points?.type.dtype ?? fallback
    let code = try node.int("output_dtype", default: 0)
    if points == nil, code != 0 {
      guard let stated = DataType(onnx: code) else {
        throw GraftError(.unsupported, "numbers quantized to \(DataType.onnxName(code))")
      }
      dtype = stated
    }
    try checkScale(scale, divides: true)
    if let stored = try storedConstant(x, scale: scale, zero: zero, as: dtype) { return stored }
    if x.type.dtype == .float32,
      let quantization = try quantization(scale: scale, zero: zero, of: dtype)
    {
      return try apply(Quantize(to: quantization, isSigned: dtype == .int8), x)
    }
    let real = try cast(x, to: steps.type.dtype)
    let divisor = try quantizer(steps, for: x)
    let offset = try points.map { try cast(try quantizer($0, for: x), to: steps.type.dtype) }
    return try rounded(try apply(Divide(), real, divisor), offset, to: dtype)
  }

  /// A constant input as 8-bit integers; nil where it is none.
  private mutating func storedConstant(
    _ x: Term, scale: Int, zero: Int, as dtype: DataType
  ) throws -> Term? {
    guard case .input(let index) = x.source, let reals = data(index), reals.dtype == .float32,
      [.int8, .uint8].contains(dtype), try node.int("block_size", default: 0) == 0,
      let steps = data(scale), steps.dtype == .float32,
      node.optionalInput(zero) == nil || data(zero)?.dtype == dtype
    else { return nil }
    let (scales, zeros) = (steps.floats(), data(zero)?.integers() ?? [0])
    var (extent, inner) = (1, 1)
    if scales.count > 1 || zeros.count > 1 {
      let axis = try x.shape.axis(try node.int("axis", default: 1))
      extent = reals.shape[axis]
      inner = reals.shape[(axis + 1)...].reduce(1, *)
    }
    guard scales.count == 1 || scales.count == extent, zeros.count == 1 || zeros.count == extent,
      !scales.isEmpty, !zeros.isEmpty
    else {
      throw GraftError(
        .invalidModel,
        "\(scales.count) scales and \(zeros.count) zero points for \(extent) channels of \(x.type)")
    }
    let limits = dtype == .int8 ? -128.0...127 : 0...255
    let elements = reals.floats().enumerated().map { place, real -> Int in
      let channel = place / max(1, inner) % max(1, extent)
      let steps = (real / scales[scales.count == 1 ? 0 : channel]).rounded(.toNearestOrEven)
      let value = Double(steps) + Double(zeros[zeros.count == 1 ? 0 : channel])
      return value.isNaN
        ? Int(limits.lowerBound) : Int(max(limits.lowerBound, min(limits.upperBound, value)))
    }
    return constant(try TensorData(packing: elements, as: dtype, shape: reals.shape))
  }

  // MARK: To real numbers

  /// The real numbers for which integers stand.
  /// - Parameters:
  ///   - index: the integers, an input of the node.
  ///   - axis: that of the channels, where they have scales of their own; may be negative.
  mutating func dequantized(_ index: Int, scale: Int, zero: Int, axis: Int) throws -> Term {
    let (x, steps) = (try input(index), try input(scale))
    guard x.type.dtype.isInteger, steps.type.dtype.isFloatingPoint else {
      throw GraftError(.unsupported, "quantized \(x.type) in steps of \(steps.type)")
    }
    try checkScale(scale, divides: false)
    let code = try node.int("output_dtype", default: 0)
    let isPlain = try code == 0 && node.int("block_size", default: 0) == 0
    if isPlain, let weights = try weights(index, scale: scale, zero: zero, axis: axis) {
      return weights
    }
    if isPlain, data(index) == nil,
      let quantization = try quantization(scale: scale, zero: zero, of: x.type.dtype)
    {
      return try apply(Dequantize(from: quantization, isSigned: x.type.dtype == .int8), x)
    }
    var real = try cast(x, to: steps.type.dtype)
    if let points = optionalInput(zero) {
      real = try apply(
        Subtract(), real, try cast(try quantizer(points, for: x), to: steps.type.dtype))
    }
    let y = try apply(Multiply(), real, try quantizer(steps, for: x))
    guard code != 0 else { return y }
    guard let dtype = DataType(onnx: code) else {
      throw GraftError(.unsupported, "numbers of \(DataType.onnxName(code))")
    }
    return try cast(y, to: dtype)
  }

  /// Constant integers as what stores real numbers; nil where they are none.
  private mutating func weights(
    _ index: Int, scale: Int, zero: Int, axis: Int
  ) throws -> Term? {
    let x = try input(index)
    guard data(index) != nil, [.int8, .uint8, .int32].contains(x.type.dtype),
      let scales = data(scale), scales.dtype == .float32, scales.shape.count <= 1,
      node.optionalInput(zero) == nil || data(zero) != nil
    else { return nil }
    func single(_ index: Int) throws -> Term? {
      guard let data = data(index) else { return nil }
      return data.elementCount == 1 && data.shape.count == 1
        ? constant(try data.reshaped(to: [])) : try input(index)
    }
    let isVector = scales.elementCount != 1 || (data(zero)?.elementCount ?? 1) != 1
    return try apply(
      DequantizeWeights(axis: isVector ? try x.shape.axis(axis) : 0), x, try single(scale),
      try single(zero))
  }

  /// The convolution of a QLinearConv whose scales are known.
  mutating func statedConvolution() throws -> Term {
    let kernels = try dequantized(3, scale: 4, zero: 5, axis: 0)
    guard let weights = kernels.shape.constants, weights.count == 4 else {
      throw GraftError(.unsupported, "a convolution by \(kernels.type)")
    }
    var seen = node
    seen.inputs = [ONNXNode.Input(type: try input(0).type), ONNXNode.Input(type: kernels.type)]
    let window = try Window.read(seen, kernel: Array(weights[2...]))
    let convolution = Convolution(
      strides: window.strides, pads: window.pads, dilations: window.dilations,
      groups: try node.int("group", default: 1))
    let image = try dequantized(0, scale: 1, zero: 2, axis: 0)
    let bias = try stepsOfProducts(x: 1, w: 4).flatMap { try self.bias(8, $0) }
    return try quantized(try apply(convolution, image, kernels, bias), scale: 6, zero: 7)
  }

  /// The real number that 1 in a sum of products stands for, for each output or for all.
  func stepsOfProducts(x: Int, w: Int) -> [Float]? {
    guard let scale = data(x)?.floats().first else { return nil }
    return data(w)?.floats().map { scale * $0 }
  }

  /// Input `index`, int32 in units of products, as a vector of real numbers; nil if it is absent.
  /// - Throws: ``GraftError`` of kind `unsupported` where it is no constant.
  mutating func bias(_ index: Int, _ steps: [Float]) throws -> Term? {
    guard let input = node.optionalInput(index) else { return nil }
    guard input.type.dtype == .int32, let data = input.data else {
      throw GraftError(.unsupported, "a bias \(input.type) that is no int32 constant")
    }
    let vector = constant(try data.reshaped(to: [data.elementCount]))
    let scales = constant(try TensorData(steps, shape: steps.count == 1 ? [] : [steps.count]))
    return try apply(DequantizeWeights(), vector, scales)
  }
}
