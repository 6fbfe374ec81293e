// Normalization with stored statistics. ONNX BatchNormalization, opsets 7, 9, 14, 15 in inference mode;
// https://onnx.ai/onnx/operators/onnx__BatchNormalization.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = activation((x − mean[c]) / √(variance[c] + epsilon) · scale[c] + bias[c] + residual) (Ioffe and
/// Szegedy 2015).
///
/// Operands: x [batch, channels, …]; scale, bias, mean and variance [channels]; residual of x's shape.
///
/// - C1: x has rank 2 or more, a floating-point type and constant channels.
/// - C2: scale, bias, mean and variance are [channels] of x's type.
/// - C3: epsilon is a number that is not negative.
/// - C4: residual has x's type.
/// - C5: momentum is in [0, 1].
public struct BatchNormalization: ChannelwiseOperator, ONNXExportable {
  public static let opcode: Opcode = "batch_normalization"
  public static let group = OperatorGroup.normalization
  public static let summary =
    "normalizes each channel with stored mean and variance, with optional residual and activation"
  public static let operands: [OperandRule] = [
    .required("x"), .required("scale", .scale), .required("bias", .bias),
    .required("mean", .mean), .required("variance", .variance), .optional("residual", .residual),
  ]

  public var epsilon: Double
  /// The share that the stored statistics keep in each update while training, in [0, 1]: as in ONNX, so one
  /// less PyTorch's momentum. Without effect in inference.
  public var momentum: Double
  public var activation: Activation
  public static let defaultMomentum = 0.9

  public init(
    epsilon: Double = 1e-5, momentum: Double = Self.defaultMomentum, activation: Activation = .none
  ) {
    self.epsilon = epsilon
    self.momentum = momentum
    self.activation = activation
  }
  public init(attributes: Attributes) throws {
    epsilon = try attributes.float("epsilon")
    momentum = try attributes.float("momentum", default: Self.defaultMomentum)
    activation = try attributes.activation()
  }
  public var attributes: Attributes {
    var attributes: Attributes = ["epsilon": .float(epsilon)]
    if momentum != Self.defaultMomentum { attributes["momentum"] = .float(momentum) }
    attributes.set(activation)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try channelwiseType(operands, label: "C1")
    for (index, rule) in Self.operands.enumerated() where (1...4).contains(index) {
      try requireChannelVector("C2", try operand(index, of: operands), rule.name, of: x)
    }
    try require("C3", epsilon >= 0, "epsilon must not be negative, found \(epsilon)")
    try require("C5", (0...1).contains(momentum), "momentum must be in [0, 1], found \(momentum)")
    let result = TensorType(x.dtype, x.shape)
    if let residual = optionalOperand(5, of: operands) {
      try require(
        "C4", residual.dtype == result.dtype && residual.shape == result.shape,
        "residual must be \(result), found \(residual)")
    }
    return [result]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let scale = try tensor(1, of: operands).elements
    let bias = try tensor(2, of: operands).elements
    let mean = try tensor(3, of: operands).elements
    let variance = try tensor(4, of: operands).elements
    let factors = scale.indices.map { scale[$0] / (variance[$0] + Scalar(epsilon)).squareRoot() }
    var y = mapChannels(try tensor(0, of: operands)) { x, channel in
      (x - mean[channel]) * factors[channel] + bias[channel]
    }
    if let residual = optionalTensor(5, of: operands) {
      for index in y.elements.indices { y.elements[index] += residual.elements[index] }
    }
    y.elements = activation(y.elements)
    return [y]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: elementCount(results.first))
  }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    .blocked
  }

  public var overwritableOperands: [Int] { [0, 5] }

  public func affine(_ vectors: [[Double]]) -> (scale: [Double], shift: [Double])? {
    guard vectors.count == 4 else { return nil }
    let (gamma, beta, mean, variance) = (vectors[0], vectors[1], vectors[2], vectors[3])
    let factors = gamma.indices.map { gamma[$0] / (variance[$0] + epsilon).squareRoot() }
    return (factors, factors.indices.map { beta[$0] - mean[$0] * factors[$0] })
  }

  public static let onnx = [
    ONNXBinding("BatchNormalization") { node in
      let epsilon = try node.float("epsilon", default: Double(Float(1e-5)))
      guard try node.flag("spatial", default: true) else {
        throw GraftError(.unsupported, "spatial=0 (statistics per element) is not supported")
      }
      // Before opset 14 a node that lists more outputs than y normalizes by the batch's own statistics.
      let isTraining =
        try node.opset >= 14
        ? node.flag("training_mode", default: false) : node.outputCount > 1
      guard node.readOutputCount <= 1 else { throw node.trainingMode() }
      // As the shortest decimal: 0.9, not the nearest float32 to it.
      let stored = try node.float("momentum", default: defaultMomentum)
      let decimal = Double("\(Float(stored))") ?? defaultMomentum
      let momentum = (0...1).contains(decimal) ? decimal : defaultMomentum
      if isTraining {
        // For weights; the importer reads activations as in inference, because a result must not depend on
        // other images.
        return ImportedOperator(
          Standardize(epsilon: epsilon, overBatch: true, momentum: momentum),
          operands: [0, 1, 2, 3, 4])
      }
      return ImportedOperator(
        BatchNormalization(epsilon: epsilon, momentum: momentum), operands: [0, 1, 2, 3, 4])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard activation == .none, optionalOperand(5, of: operands) == nil else {
      throw GraftError(
        .unsupported, "ONNX has no normalization with a fused residual or activation")
    }
    return ExportedOperator(
      "BatchNormalization",
      attributes: [("epsilon", .float(epsilon))]
        + (momentum == Self.defaultMomentum ? [] : [("momentum", .float(momentum))]),
      inputs: (0..<5).map { .operand($0) })
  }
}

extension BatchNormalization: DifferentiableOperator {
  /// With stored statistics, dx is a BatchNormalization of dy with zero mean and bias; with batch statistics,
  /// the gradient flows through mean and variance too.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let dy = try builder.incoming(through: activation)
    if builder.wants(5) { try builder.setGradient(of: 5, dy) }
    let (x, scale) = (try builder.operand(0), try builder.operand(1))
    let (mean, variance) = (try builder.operand(3), try builder.operand(4))
    let statistics = builder.graph.producer(of: mean)
    let isBatchOwn =
      statistics?.opcode == BatchStatistics.opcode && statistics?.operand(0) == x
      && builder.graph.producer(of: variance)?.id == statistics?.id
    guard isBatchOwn || !(builder.wants(3) || builder.wants(4)) else {
      throw GraftError(.unsupported, "the gradient of a normalization with computed statistics")
    }
    var sums: [ValueID] = []
    if builder.wants(1) || builder.wants(2) || isBatchOwn {
      sums = try builder.applyAll(
        BatchNormalizationParameterGradient(epsilon: epsilon), [dy, x, mean, variance])
      if builder.wants(1) { try builder.setGradient(of: 1, sums[0]) }
      if builder.wants(2) { try builder.setGradient(of: 2, sums[1]) }
    }
    guard builder.wants(0) else { return }
    if isBatchOwn {
      try builder.setGradient(
        of: 0,
        try builder.apply(
          BatchNormalizationInputGradient(epsilon: epsilon),
          [dy, x, scale, mean, variance, sums[0], sums[1]]))
    } else {
      let channels = builder.shape(of: scale).constants?.first ?? 0
      let zeros = try builder.constant(
        Array(repeating: 0, count: channels), shape: [channels], like: x)
      try builder.setGradient(
        of: 0,
        try builder.apply(
          BatchNormalization(epsilon: epsilon), [dy, scale, zeros, zeros, variance]))
    }
  }
}
