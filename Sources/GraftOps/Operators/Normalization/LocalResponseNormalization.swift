// Normalization by neighboring channels (Krizhevsky et al. 2012, section 3.3). ONNX LRN, opsets 1, 13;
// https://onnx.ai/onnx/operators/onnx__LRN.html

import GraftDiagnostics
import GraftIR
import RealModule

/// y[n, c, …] = x[n, c, …] / (bias + alpha / size · Σ x[n, i, …]²) to the power beta, over the channels i
/// from c − ⌊(size − 1) / 2⌋ to c + ⌈(size − 1) / 2⌉ that exist.
///
/// x [batch, channels, …].
///
/// - C1: x has rank 2 or more, a floating-point type and constant channels.
/// - C2: size is positive, and alpha, beta and bias are numbers.
public struct LocalResponseNormalization: RealOperator, ONNXExportable {
  public static let opcode: Opcode = "lrn"
  public static let group = OperatorGroup.normalization
  public static let summary = "local response normalization over neighboring channels"
  public static let operands: [OperandRule] = [.required("x")]

  public var size: Int
  public var alpha: Double
  public var beta: Double
  public var bias: Double

  public init(size: Int, alpha: Double = 1e-4, beta: Double = 0.75, bias: Double = 1) {
    self.size = size
    self.alpha = alpha
    self.beta = beta
    self.bias = bias
  }

  public init(attributes: Attributes) throws {
    size = try attributes.int("size")
    alpha = try attributes.float("alpha")
    beta = try attributes.float("beta")
    bias = try attributes.float("bias")
  }

  public var attributes: Attributes {
    [
      "size": .int(size), "alpha": .float(alpha), "beta": .float(beta), "bias": .float(bias),
    ]
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try channelwiseType(operands, label: "C1")
    try require(
      "C2",
      (1...Window.largest).contains(size) && !alpha.isNaN && !beta.isNaN && !bias.isNaN,
      "size \(size), alpha \(alpha), beta \(beta), bias \(bias)")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let x = try tensor(0, of: operands)
    let channels = x.shape[1]
    let inner = x.shape.dropFirst(2).reduce(1, *)
    var y = x
    for image in 0..<x.shape[0] {
      for channel in 0..<channels {
        let first = max(0, channel - (size - 1) / 2)
        let last = min(channels - 1, channel + size / 2)
        for position in 0..<inner {
          var sum: Scalar = 0
          for neighbor in first...last {
            let value = x.elements[(image * channels + neighbor) * inner + position]
            sum += value * value
          }
          let base = Scalar(bias) + Scalar(alpha) / Scalar(size) * sum
          y.elements[(image * channels + channel) * inner + position] /=
            Scalar.pow(base, Scalar(beta))
        }
      }
    }
    return [y]
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    OperatorCost(multiplyAdds: saturatingProduct([elementCount(results.first), max(size, 0)]))
  }

  public static let onnx = [
    ONNXBinding("LRN") { node in
      ImportedOperator(try LocalResponseNormalization(node), operands: [0])
    }
  ]

  init(_ node: ONNXNode) throws {
    guard node.attributes["size"] != nil else {
      throw GraftError(.invalidModel, "attribute \"size\" is missing")
    }
    self.init(
      size: try node.int("size", default: 1),
      alpha: try node.float("alpha", default: Double(Float(1e-4))),
      beta: try node.float("beta", default: 0.75), bias: try node.float("bias", default: 1))
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "LRN",
      attributes: [
        ("alpha", .float(alpha)), ("beta", .float(beta)), ("bias", .float(bias)),
        ("size", .int(size)),
      ],
      inputs: [.operand(0)])
  }
}

extension LocalResponseNormalization: DifferentiableOperator {
  /// With b = bias + alpha / size · Σ x² over a channel's neighbors:
  /// dx = dy · b^−beta − 2 · alpha · beta / size · x · Σ dy · x · b^(−beta − 1), where the second sum is over
  /// the channels whose neighbor this one is. Both are means over a window of an image whose rows
  /// are channels.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let (x, dy) = (try builder.operand(0), try builder.incoming())
    let shape = builder.shape(of: x)
    guard let inner = TensorShape(Array(shape.dimensions[2...])).elementCount else {
      throw GraftError(.unsupported, "an image without a constant size")
    }
    let rows: TensorShape = [shape[0], 1, shape[1], inner]
    let (before, after) = ((size - 1) / 2, size / 2)
    func mean(_ value: ValueID, pads: [Int], _ builder: inout GradientBuilder) throws -> ValueID {
      let pool = AveragePool(window: Window(kernel: [size, 1], pads: pads), countIncludePad: true)
      let image = try builder.reshaped(value, to: rows)
      return try builder.reshaped(try builder.apply(pool, [image]), to: shape)
    }
    let square = try builder.apply(Multiply(), [x, x])
    let share = try builder.scaled(
      try mean(square, pads: [before, 0, after, 0], &builder), by: alpha)
    let base = try builder.apply(Add(), [share, try builder.scalar(bias, like: x)])
    let direct = try builder.apply(
      Multiply(), [dy, try builder.apply(Power(exponent: -beta), [base])])
    let product = try builder.apply(
      Multiply(), [x, try builder.apply(Divide(), [direct, base])])
    let others = try builder.scaled(
      try mean(product, pads: [after, 0, before, 0], &builder), by: 2 * alpha * beta)
    try builder.setGradient(
      of: 0,
      try builder.apply(Subtract(), [direct, try builder.apply(Multiply(), [x, others])]))
  }
}
