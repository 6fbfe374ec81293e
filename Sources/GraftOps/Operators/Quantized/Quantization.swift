// How real numbers are stored as bytes: a step and a zero point (Jacob et al. 2018, section 2.1).

import GraftDiagnostics
import GraftIR

/// The affine map between uint8 elements q and the real numbers that they stand for: scale · (q − zero).
public struct Quantization: Hashable, Sendable {
  /// The distance between neighboring numbers; positive and finite, a float32.
  public var scale: Double
  /// The element that stands for 0, in 0...255.
  public var zero: Int

  public init(scale: Double, zero: Int) {
    self.scale = scale
    self.zero = zero
  }

  /// The map whose elements cover `low`...`high`, extended to contain 0; 0 is exact.
  public init(low: Double, high: Double) {
    let (low, high) = (min(low, 0), max(high, 0))
    let scale = Double(Float((high - low) / 255))
    guard scale.isFinite, scale > 0 else {
      self.init(scale: 1, zero: 0)
      return
    }
    self.init(scale: scale, zero: Int(max(0, min(255, (-low / scale).rounded()))))
  }

  /// The element nearest to `x`, ties to even; the first or the last past the ends, and the first for NaN.
  public func element(_ x: Float) -> Int { element(ofSteps: x / Float(scale)) }

  /// The element nearest to a number of steps.
  func element(ofSteps steps: Float) -> Int {
    steps.isNaN
      ? 0 : Self.saturated(Double(steps.rounded(.toNearestOrEven)) + Double(zero))
  }

  /// The reciprocal of the scale as kernels multiply by it.
  var rate: Float { Float(1 / scale) }

  public func real(_ element: Int) -> Float { Float(element - zero) * Float(scale) }

  static func saturated(_ x: Double) -> Int { Int(max(0, min(255, x))) }

  /// - Throws: ``GraftError`` citing `label` where scale or zero point are out of range.
  func check(_ label: String) throws {
    try require(
      label, scale > 0 && scale.isFinite && (0...255).contains(zero),
      "a scale of \(scale) with zero point \(zero)")
  }
}

extension Attributes {
  /// The quantization stored under `name`; nil if there is none.
  func quantization(_ name: String) throws -> Quantization? {
    guard self["\(name)_scale"] != nil else { return nil }
    return Quantization(
      scale: try float("\(name)_scale"), zero: try int("\(name)_zero", default: 0))
  }

  mutating func set(_ name: String, _ quantization: Quantization?) {
    guard let quantization else { return }
    self["\(name)_scale"] = .float(quantization.scale)
    if quantization.zero != 0 { self["\(name)_zero"] = .int(quantization.zero) }
  }
}

/// What becomes of an int32 sum of products: activation(sum · multiplier + residual) · rate, rounded to nearest,
/// ties to even, plus the zero point and saturated; or without rounding, as float32.
///
/// The multiplier, one float32 for each output, is an operand. Every operation is a float32 one, in this order.
public struct Requantization: Hashable, Sendable {
  /// A residual r adds (r − zero) · multiplier where it is uint8, and itself where it is float32.
  public var residualMultiplier: Double
  public var residualZero: Int
  public var activation: Activation
  /// The reciprocal of the result's scale; 1 where the multipliers are in steps of the result already, and for a
  /// float32 result.
  public var rate: Double
  /// The zero point of the uint8 result; nil for a float32 result.
  public var zero: Int?
  /// The scale of the uint8 result, which only exports tell; 1 where it is unknown.
  public var scale: Double

  public init(
    residualMultiplier: Double = 1, residualZero: Int = 0, activation: Activation = .none,
    rate: Double = 1, zero: Int? = nil, scale: Double = 1
  ) {
    self.residualMultiplier = residualMultiplier
    self.residualZero = residualZero
    self.activation = activation
    self.rate = rate
    self.zero = zero
    self.scale = scale
  }

  init(attributes: Attributes) throws {
    self.init(
      residualMultiplier: try attributes.float("residual_multiplier", default: 1),
      residualZero: try attributes.int("residual_zero", default: 0),
      activation: try attributes.activation(), rate: try attributes.float("rate", default: 1),
      zero: attributes["zero"] == nil ? nil : try attributes.int("zero"),
      scale: try attributes.float("scale", default: 1))
  }

  func write(to attributes: inout Attributes) {
    if residualMultiplier != 1 { attributes["residual_multiplier"] = .float(residualMultiplier) }
    if residualZero != 0 { attributes["residual_zero"] = .int(residualZero) }
    attributes.set(activation)
    if rate != 1 { attributes["rate"] = .float(rate) }
    if let zero { attributes["zero"] = .int(zero) }
    if scale != 1 { attributes["scale"] = .float(scale) }
  }

  public var dtype: DataType { zero == nil ? .float32 : .uint8 }

  /// - Throws: ``GraftError`` citing `label` where a number is out of range.
  func check(_ label: String) throws {
    try require(
      label,
      rate > 0 && rate.isFinite && scale > 0 && scale.isFinite && (zero != nil || rate == 1)
        && residualMultiplier.isFinite
        && (0...255).contains(residualZero) && (0...255).contains(zero ?? 0),
      "a rate of \(rate), a residual's multiplier of \(residualMultiplier) and zero points "
        + "\(residualZero) and \(zero ?? 0)")
  }

  /// The float32 result in steps; ``stored(_:)`` rounds it.
  func real(sum: Int, multiplier: Float, residual: Residual?) -> Float {
    var value = Float(Int32(truncatingIfNeeded: sum)) * multiplier
    switch residual {
    case .element(let element):
      value += Float(element - residualZero) * Float(residualMultiplier)
    case .real(let real): value += real
    case nil: break
    }
    value = activation(value)
    return rate == 1 ? value : value * Float(rate)
  }

  enum Residual {
    case element(Int)
    case real(Float)
  }

  /// The result for one output.
  /// - Returns: the element of a uint8 result.
  func stored(_ value: Float, zero: Int) -> Int {
    Quantization(scale: 1, zero: zero).element(ofSteps: value)
  }

  /// The results of `sums`, whose multipliers repeat along `output(index)`.
  func results(
    _ sums: [Int], shape: [Int], multipliers: [Float], residual: HostTensor?,
    output: (Int) -> Int
  ) throws -> HostTensor {
    var elements: [Float] = []
    elements.reserveCapacity(sums.count)
    for (index, sum) in sums.enumerated() {
      let added: Residual? =
        switch residual {
        case .integer(let tensor): tensor.elements[index].constant.map(Residual.element)
        case .float32(let tensor): .real(tensor.elements[index])
        case .float64(let tensor): .real(Float(tensor.elements[index]))
        case nil: nil
        }
      elements.append(real(sum: sum, multiplier: multipliers[output(index)], residual: added))
    }
    guard let zero else { return .float32(try DenseTensor(shape: shape, elements: elements)) }
    return .integer(
      try DenseTensor(shape: shape, elements: elements.map { Dimension(stored($0, zero: zero)) }))
  }
}

extension HostTensor {
  /// The integers of a tensor that the evaluator holds.
  /// - Throws: ``GraftError`` of kind `invalidGraph` for other tensors.
  func wholeNumbers() throws -> DenseTensor<Int> {
    guard case .integer(let tensor) = self else {
      throw GraftError(.invalidGraph, "expected integers")
    }
    return try tensor.map { dimension in
      guard let value = dimension.constant else {
        throw GraftError(.invalidGraph, "expected integers, found \(dimension)")
      }
      return value
    }
  }

  /// Float32 elements of a real tensor.
  /// - Throws: ``GraftError`` of kind `invalidGraph` for integers.
  func singles() throws -> DenseTensor<Float> {
    switch self {
    case .float32(let tensor): return tensor
    case .float64(let tensor): return tensor.map { Float($0) }
    case .integer: throw GraftError(.invalidGraph, "expected real numbers")
    }
  }
}

/// An operator that sums products of x with constant weights, and can do so on bytes: what quantization looks
/// for.
public protocol QuantizableSum: ActivationFusing {
  /// The operator on uint8 x and int8 weights, whose axes are in the order of ``outputsFirst(_:)``; nil where
  /// there are no kernels for these types, with the reason.
  /// - Parameters:
  ///   - x: the quantization of x.
  ///   - isExact: whether the sums must be those of integers.
  func quantized(
    x: Quantization, _ requantization: Requantization, isExact: Bool, operands: [TensorType?]
  ) -> Result<any Operator, GraftError>
  /// The axis of the weights that has an index for each output.
  var outputsAxis: Int { get }
  /// The weights with the axis of outputs first.
  func outputsFirst(_ weights: DenseTensor<Float>) -> DenseTensor<Float>
}

/// An operator that computes each element of its result from few of its operands', which kernels read and write
/// as bytes or as float32: ``Quantized`` can wrap it.
public protocol QuantizableElementwise: Operator {
  /// Whether every element of the result is one of the operand's, so that both have one quantization.
  static var selectsElements: Bool { get }
}

extension QuantizableElementwise {
  public static var selectsElements: Bool { false }
}
