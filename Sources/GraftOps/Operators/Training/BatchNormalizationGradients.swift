// The gradients of a batch normalization: of scale and bias, which need only sums over a batch, and of the
// image if the statistics are those of the batch. (Where they are stored ones, the image's gradient is a
// batch_normalization itself.)

import GraftDiagnostics
import GraftIR
import RealModule

/// dscale[c] = Σ dy · x̂ and dbias[c] = Σ dy over batch and space, with x̂ = (x − mean) / √(variance + ε).
///
/// Operands: dy and x [batch, channels, …]; mean and variance [channels].
///
/// - C1: dy and x have one type, rank 2 or more and constant channels.
/// - C2: mean and variance are [channels].
/// - C3: epsilon is not negative.
public struct BatchNormalizationParameterGradient: RealOperator {
  public static let opcode: Opcode = "batch_normalization_parameter_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradients of a batch normalization's scale and bias"
  public static let operands: [OperandRule] = [
    .required("dy"), .required("x"), .required("mean"), .required("variance"),
  ]
  public static let resultNames = ["dscale", "dbias"]

  public var epsilon: Double

  public init(epsilon: Double) { self.epsilon = epsilon }
  public init(attributes: Attributes) throws { epsilon = try attributes.float("epsilon") }
  public var attributes: Attributes { ["epsilon": .float(epsilon)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let dy = try channelwiseType(operands, label: "C1")
    try requireSameType("C1", try operand(1, of: operands), "x", as: dy)
    for index in 2..<4 {
      try requireChannelVector(
        "C2", try operand(index, of: operands), Self.operands[index].name, of: dy)
    }
    try require("C3", epsilon >= 0, "epsilon must not be negative, found \(epsilon)")
    return Array(repeating: TensorType(dy.dtype, [dy.shape[1]]), count: 2)
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (dy, x) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let (mean, variance) = (try tensor(2, of: operands), try tensor(3, of: operands))
    let channels = extents[0][0]
    var (scale, bias) = (
      Array(repeating: 0.0, count: channels), Array(repeating: 0.0, count: channels)
    )
    var position = 0
    forEachChannel(dy) { gradient, channel in
      let factor = 1 / (Double(variance.elements[channel]) + epsilon).squareRoot()
      let normalized = (Double(x.elements[position]) - Double(mean.elements[channel])) * factor
      scale[channel] += Double(gradient) * normalized
      bias[channel] += Double(gradient)
      position += 1
    }
    return [
      try DenseTensor(shape: extents[0], elements: scale.map { Scalar($0) }),
      try DenseTensor(shape: extents[1], elements: bias.map { Scalar($0) }),
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(
      multiplyAdds: saturatingProduct([2, elementCount(optionalOperand(0, of: operands))]))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .reducing
  }
}

/// dx = scale / √(variance + ε) · (dy − (dbias + x̂ · dscale) / m), with m the elements of a channel in the
/// batch (Ioffe and Szegedy 2015, section 3): the gradient through statistics of the batch itself.
///
/// Operands: dy and x [batch, channels, …]; scale, mean, variance, dscale and dbias [channels], the last
/// two from ``BatchNormalizationParameterGradient``.
///
/// - C1: dy and x have one type, rank 2 or more and constant channels.
/// - C2: the vectors are [channels].
/// - C3: epsilon is not negative.
public struct BatchNormalizationInputGradient: RealOperator {
  public static let opcode: Opcode = "batch_normalization_input_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "input gradient of a batch normalization with batch statistics"
  public static let operands: [OperandRule] = [
    .required("dy"), .required("x"), .required("scale"), .required("mean"), .required("variance"),
    .required("dscale"), .required("dbias"),
  ]
  public static let resultNames = ["dx"]

  public var epsilon: Double

  public init(epsilon: Double) { self.epsilon = epsilon }
  public init(attributes: Attributes) throws { epsilon = try attributes.float("epsilon") }
  public var attributes: Attributes { ["epsilon": .float(epsilon)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let dy = try channelwiseType(operands, label: "C1")
    try requireSameType("C1", try operand(1, of: operands), "x", as: dy)
    for index in 2..<7 {
      try requireChannelVector(
        "C2", try operand(index, of: operands), Self.operands[index].name, of: dy)
    }
    try require("C3", epsilon >= 0, "epsilon must not be negative, found \(epsilon)")
    return [TensorType(dy.dtype, dy.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let (dy, x) = (try tensor(0, of: operands), try tensor(1, of: operands))
    let vectors = try (2..<7).map { try tensor($0, of: operands).elements }
    let count = Scalar(max(1, dy.elements.count / max(1, dy.shape[1])))
    var position = -1
    return [
      mapChannels(dy) { gradient, channel in
        position += 1
        let factor = 1 / (vectors[2][channel] + Scalar(epsilon)).squareRoot()
        let normalized = (x.elements[position] - vectors[1][channel]) * factor
        let mean = (vectors[4][channel] + normalized * vectors[3][channel]) / count
        return vectors[0][channel] * factor * (gradient - mean)
      }
    ]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([2, elementCount(results.first)]))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public var overwritableOperands: [Int] { [0, 1] }
}
