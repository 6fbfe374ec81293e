// A per-channel multiplication and addition: a batch normalization that no
// convolution absorbed. Only passes create it; ONNX has no such operator.

import GraftDiagnostics
import GraftIR
import RealModule

/// y = activation(x · scale[c] + shift[c]).
///
/// Operands: x [batch, channels, …]; scale and shift [channels].
///
/// - C1: x has rank 2 or more, a floating-point type and constant channels.
/// - C2: scale and shift are [channels] of x's type.
public struct ScaleShift: ChannelwiseOperator, QuantizableElementwise {
  public static let opcode: Opcode = "scale_shift"
  public static let group = OperatorGroup.normalization
  public static let summary = "x · scale + shift per channel, with an optional activation"
  public static let operands: [OperandRule] = [
    .required("x"), .required("scale", .scale), .required("shift", .bias),
  ]

  public var activation: Activation

  public init(activation: Activation = .none) { self.activation = activation }
  public init(attributes: Attributes) throws { activation = try attributes.activation() }
  public var attributes: Attributes {
    var attributes = Attributes()
    attributes.set(activation)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try channelwiseType(operands, label: "C1")
    try requireChannelVector("C2", try operand(1, of: operands), "scale", of: x)
    try requireChannelVector("C2", try operand(2, of: operands), "shift", of: x)
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let scale = try tensor(1, of: operands).elements
    let shift = try tensor(2, of: operands).elements
    var y = mapChannels(try tensor(0, of: operands)) { x, channel in
      x * scale[channel] + shift[channel]
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

  public var overwritableOperands: [Int] { [0] }

  public func affine(_ vectors: [[Double]]) -> (scale: [Double], shift: [Double])? {
    vectors.count == 2 ? (vectors[0], vectors[1]) : nil
  }

  /// x · scale + shift with both broadcast along all axes after the channels.
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    let x = try builder.operand(0)
    let behind = Array(1..<max(1, builder.shape(of: x).rank - 1))
    let channelwise = try (1...2).map { index in
      let operand = try builder.operand(index)
      return behind.isEmpty ? operand : try builder.apply(Unsqueeze(axes: behind), [operand])
    }
    let scaled = try builder.apply(Multiply(), [x, channelwise[0]])
    let shifted = try builder.apply(Add(), [scaled, channelwise[1]])
    return try builder.apply(activation, to: shifted)
  }
}
