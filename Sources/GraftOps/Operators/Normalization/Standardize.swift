// Normalization by a tensor's own mean and variance, which networks use on weights: standardized
// convolutions write it as a BatchNormalization in training mode, or as an InstanceNormalization, of the
// reshaped weights. ONNX InstanceNormalization, opsets 6, 22, BatchNormalization, opsets 9, 14, 15;
// https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y = (x − mean) / √(variance + epsilon) · scale[c] + bias[c], where mean and variance (of the population)
/// are x's own: of each channel, over the batch too where ``overBatch``.
///
/// Operands: x [batch, channels, …]; scale and bias [channels]; mean and variance [channels], which only
/// ``inInference`` reads.
///
/// - C1: x has rank 2 or more (3 or more without ``overBatch``), a floating-point type and constant channels.
/// - C2: scale, bias, mean and variance are [channels] of x's type.
/// - C3: epsilon is a number that is not negative.
public struct Standardize: RealOperator, ONNXExportable {
  public static let opcode: Opcode = "standardize"
  public static let group = OperatorGroup.normalization
  public static let summary = "normalizes each channel with its own mean and variance"
  public static let operands: [OperandRule] = [
    .required("x"), .required("scale"), .required("bias"), .optional("mean"),
    .optional("variance"),
  ]
  public static let isCompileTimeOnly = true

  public var epsilon: Double
  /// Whether mean and variance are computed over the whole batch.
  public var overBatch: Bool
  /// That of the normalization ``inInference``.
  public var momentum: Double

  public init(
    epsilon: Double = 1e-5, overBatch: Bool, momentum: Double = BatchNormalization.defaultMomentum
  ) {
    self.epsilon = epsilon
    self.overBatch = overBatch
    self.momentum = momentum
  }

  public init(attributes: Attributes) throws {
    epsilon = try attributes.float("epsilon")
    overBatch = try attributes.bool("over_batch", default: false)
    momentum = try attributes.float("momentum", default: BatchNormalization.defaultMomentum)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["epsilon": .float(epsilon)]
    if overBatch { attributes["over_batch"] = .bool(true) }
    if momentum != BatchNormalization.defaultMomentum { attributes["momentum"] = .float(momentum) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try channelwiseType(operands, label: "C1")
    try require("C1", overBatch || x.rank >= 3, "x must have rank 3 or more, found \(x)")
    try requireChannelVector("C2", try operand(1, of: operands), "scale", of: x)
    try requireChannelVector("C2", try operand(2, of: operands), "bias", of: x)
    for (index, name) in [(3, "mean"), (4, "variance")] {
      if let statistic = optionalOperand(index, of: operands) {
        try requireChannelVector("C2", statistic, name, of: x)
      }
    }
    try require("C3", epsilon >= 0, "epsilon must not be negative, found \(epsilon)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    var y = try tensor(0, of: operands)
    let scale = try tensor(1, of: operands).elements
    let bias = try tensor(2, of: operands).elements
    let (batch, channels) = (y.shape[0], y.shape[1])
    let count = y.shape.dropFirst(2).reduce(1, *)
    for channel in 0..<channels {
      let rows = (0..<batch).map { ($0 * channels + channel) * count }
      for group in overBatch ? [rows] : rows.map({ [$0] }) {
        let places = group.flatMap { $0..<($0 + count) }
        let size = Double(Swift.max(1, places.count))
        let mean = places.reduce(0) { $0 + Double(y.elements[$1]) } / size
        let squares = places.reduce(0.0) { sum, place in
          let difference = Double(y.elements[place]) - mean
          return sum + difference * difference
        }
        let factor = Double(scale[channel]) / (squares / size + epsilon).squareRoot()
        for place in places {
          y.elements[place] = Scalar(
            (Double(y.elements[place]) - mean) * factor + Double(bias[channel]))
        }
      }
    }
    return [y]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([3, elementCount(results.first)]))
  }

  public var compileTimeAdvice: String? { overBatch ? ONNXNode.inferenceAdvice : nil }

  public static let onnx = [
    ONNXBinding("InstanceNormalization") { node in
      let epsilon = try node.float("epsilon", default: Double(Float(1e-5)))
      return ImportedOperator(
        Standardize(epsilon: epsilon, overBatch: false), operands: [0, 1, 2])
    }
  ]

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let epsilon = (name: "epsilon", value: ONNXAttributeValue.float(epsilon))
    guard overBatch else {
      return ExportedOperator(
        "InstanceNormalization", attributes: [epsilon], inputs: (0..<3).map { .operand($0) })
    }
    // The running statistics are read, and change only what nothing reads.
    return ExportedOperator(
      "BatchNormalization", attributes: [epsilon, ("training_mode", .int(1))],
      inputs: [.operand(0), .operand(1), .operand(2), .operand(1), .operand(1)])
  }
}

/// An operator that ONNX has in a training mode, where a result depends on other images.
public protocol TrainingModeOperator: Operator {
  /// The operator of the same operands in inference; nil where this one is right there too.
  var inInference: (any Operator)? { get }
}

extension Standardize: TrainingModeOperator {
  /// The normalization by stored statistics.
  public var inInference: (any Operator)? {
    overBatch ? BatchNormalization(epsilon: epsilon, momentum: momentum) : nil
  }
}
