// Shared code of binary arithmetic: a fused activation, evaluation on real numbers and on shape
// values, layouts. Each operator's own file gives the function and the ONNX name.

import GraftDiagnostics
import GraftIR
import RealModule

/// An elementwise function of two tensors with broadcasting, followed by an optional fused activation;
/// constraints C1 and C2 of ``BroadcastingPair``.
public protocol BinaryElementwise: BroadcastingPair, ActivationFusing, QuantizableElementwise {
  init(activation: Activation)
  static func apply<Scalar: Real & BinaryFloatingPoint>(_ a: Scalar, _ b: Scalar) -> Scalar
  /// The function on shape values; nil if the result is neither an integer nor k·N.
  static func apply(_ a: Dimension, _ b: Dimension) -> Dimension?
  /// The function of one operand if the other is the constant `k`, as x · scale + shift; nil if it has
  /// another form.
  /// - Parameter position: the constant's operand position.
  static func affine(with k: Double, at position: Int) -> (scale: Double, shift: Double)?
  static var isCommutative: Bool { get }
}

extension BinaryElementwise {
  public static func affine(
    with k: Double, at position: Int
  ) -> (scale: Double, shift: Double)? { nil }
  public static var isCommutative: Bool { false }

  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    PermutedOperator(self, resultPermutation: permutation)
  }

  public init(attributes: Attributes) throws {
    self.init(activation: try attributes.activation())
  }

  public var attributes: Attributes {
    var attributes = Attributes()
    attributes.set(activation)
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    [try broadcastType(operands)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    guard operands.count == 2, extents.count == 1 else {
      throw GraftError(.invalidGraph, "expected two operands and one result")
    }
    switch (operands[0], operands[1]) {
    case (.float32(let a), .float32(let b)):
      return [.float32(activated(try broadcasting(a, b, to: extents[0]) { Self.apply($0, $1) }))]
    case (.float64(let a), .float64(let b)):
      return [.float64(activated(try broadcasting(a, b, to: extents[0]) { Self.apply($0, $1) }))]
    case (.integer(let a), .integer(let b)):
      return [.integer(try broadcasting(a, b, to: extents[0], Self.applyToShapes))]
    default:
      throw GraftError(.invalidGraph, "\(Self.opcode) needs operands of one element type")
    }
  }

  private func activated<Scalar: Real & BinaryFloatingPoint>(
    _ tensor: DenseTensor<Scalar>
  ) -> DenseTensor<Scalar> {
    var result = tensor
    result.elements = activation(tensor.elements)
    return result
  }

  public static func applyToShapes(_ a: Dimension, _ b: Dimension) throws -> Dimension {
    try requireShapeValue(apply(a, b), opcode, a, b)
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    let extents = results.first.flatMap { try? $0.shape.extents(batch: 1) } ?? [0]
    return OperatorCost(multiplyAdds: extents.reduce(1, *))
  }

  /// Blocked where both operands are images of the result's shape, or one of them is one number for
  /// each channel ([1, C, 1, 1] or [N, C, 1, 1]).
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    guard let result = results.first, result.rank == 4, result.dtype == .float32 else {
      return .plain
    }
    let fits = operands.compactMap(\.self).allSatisfy { type in
      guard type.rank == 4, type.shape[1] == result.shape[1] else { return false }
      return type.shape == result.shape || (type.shape[2] == 1 && type.shape[3] == 1)
    }
    return fits ? .blocked : .plain
  }

  public var overwritableOperands: [Int] { [0, 1] }

  public static var onnx: [ONNXBinding] {
    [ONNXBinding(onnxName) { try $0.broadcastingPair(Self(activation: .none)) }]
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    guard activation == .none else {
      throw GraftError(.unsupported, "ONNX has no \(Self.onnxName) with a fused activation")
    }
    return ExportedOperator(Self.onnxName, inputs: [.operand(0), .operand(1)])
  }
}
