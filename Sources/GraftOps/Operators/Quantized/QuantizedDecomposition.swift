// Operators on bytes as those on real numbers between conversions, which ONNX has and runtimes put on bytes again.

import GraftDiagnostics
import GraftIR

extension DecompositionBuilder {
  /// A sum of products of bytes as `operation` between conversions: x from bytes, weights and bias from integers,
  /// then the residual, the activation, and the result to bytes.
  /// - Parameter x: the quantization of operand 0.
  /// - Throws: ``GraftError`` of kind `invalidGraph` where the multipliers are no constants.
  mutating func sum(
    of operation: any Operator, x: Quantization, _ requantization: Requantization
  ) throws -> ValueID {
    guard let multipliers = data(of: try operand(3))?.floats() else {
      throw GraftError(.invalidGraph, "its multipliers are no constants")
    }
    // The real number that is 1 for the multipliers, the residual and the activation.
    let isInSteps = requantization.zero != nil && requantization.rate == 1
    let unit = isInSteps ? requantization.scale : 1
    let scales = multipliers.map {
      Self.weightScale(multiplier: $0, x: Float(x.scale), unit: Float(unit))
    }
    let steps = scales.map { Float(x.scale) * $0 }
    let weights = try apply(DequantizeWeights(), [operand(1), vector(scales, "scale")])
    let bias = try apply(DequantizeWeights(), [operand(2), vector(steps, "step")])
    let real = try apply(Dequantize(from: x), [operand(0)])
    var y = try apply(operation, [real, weights, bias])
    if let residual = optionalOperand(4) {
      let scale = Double(Float(requantization.residualMultiplier * unit))
      let addend =
        type(of: residual).dtype == .uint8
        ? try apply(
          Dequantize(from: Quantization(scale: scale, zero: requantization.residualZero)),
          [residual]) : try scaled(residual, by: unit)
      y = try apply(Add(), [y, addend])
    }
    let scaled = unit == 1 ? requantization.activation : requantization.activation.scaled(by: unit)
    guard let scaled else {
      throw GraftError(.unsupported, "an activation \(requantization.activation) of steps")
    }
    y = try apply(scaled, to: y)
    guard let zero = requantization.zero else { return y }
    let scale = isInSteps ? unit : 1 / requantization.rate
    return try apply(
      Quantize(to: Quantization(scale: Double(Float(scale)), zero: zero)), [y])
  }

  private mutating func scaled(_ value: ValueID, by factor: Double) throws -> ValueID {
    factor == 1
      ? value : try apply(Multiply(), [value, try scalar(factor, like: value)])
  }

  private mutating func vector(_ elements: [Float], _ name: String) throws -> ValueID {
    try constant(TensorData(elements, shape: [elements.count]), named: name)
  }

  /// The scale of weights with which x's scale · it / unit is `multiplier` in float32, or nearly so where there is
  /// none.
  private static func weightScale(multiplier: Float, x: Float, unit: Float) -> Float {
    let near = multiplier * unit / x
    let candidates = [
      near, near.nextUp, near.nextDown, near.nextUp.nextUp, near.nextDown.nextDown,
    ]
    return candidates.first { x * $0 / unit == multiplier } ?? near
  }
}

extension Quantized {
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    let reals = try sources.enumerated().map { position, source -> ValueID in
      let operand = try builder.operand(position)
      return try source.map { try builder.apply(Dequantize(from: $0), [operand]) } ?? operand
    }
    let y = try builder.apply(operation, reals)
    return try result.map { try builder.apply(Quantize(to: $0), [y]) } ?? y
  }
}
