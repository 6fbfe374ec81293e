// The gradient of attention, which computes the scores again from q and k instead of keeping them (Dao et al. 2022,
// arXiv:2205.14135, algorithm 4).

import GraftDiagnostics
import GraftIR
import RealModule

/// dq = scale · ds · k, dk = scale · dsᵀ · q and dv = pᵀ · dy, with p = exp(scale · q · kᵀ + bias + mask − logsum) and
/// ds = p · (dy · vᵀ − Σ dy · y), for ``Attention`` without views.
///
/// Operands: dy […, queries, width]; q, k, v, y and logsum, bias and mask as operands and results of ``Attention``.
///
/// - C1 to C4: those of ``Attention``.
/// - C5: dy and y are […, queries, width], logsum is […, queries].
public struct AttentionGradient: RealOperator {
  public static let opcode: Opcode = "attention_gradient"
  public static let group = OperatorGroup.training
  public static let summary = "gradients of an attention's queries, keys and values"
  public static let operands: [OperandRule] = [
    .required("dy"), .required("q"), .required("k"), .required("v"), .required("y"),
    .required("logsum"), .optional("bias"), .optional("mask"),
  ]
  public static let resultNames = ["dq", "dk", "dv"]

  public var scale: Double

  public init(scale: Double) { self.scale = scale }
  public init(attributes: Attributes) throws { scale = try attributes.float("scale") }
  public var attributes: Attributes { ["scale": .float(scale)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let forward = Array(operands[1..<4]) + operands.dropFirst(6)
    let results = try Attention(scale: scale).inferTypes(forward)
    for (index, expected) in [(0, results[0]), (4, results[0]), (5, results[1])] {
      try requireSameType(
        "C5", try operand(index, of: operands), Self.operands[index].name, as: expected)
    }
    return try (1..<4).map { try operand($0, of: operands) }
  }

  public func evaluate<Scalar: Real & BinaryFloatingPoint & Sendable>(
    real operands: [DenseTensor<Scalar>?], extents: [[Int]]
  ) throws -> [DenseTensor<Scalar>] {
    let tensors = try (0..<6).map { try tensor($0, of: operands).elements }
    let (dy, q, k, v, y, logsum) = (
      tensors[0], tensors[1], tensors[2], tensors[3], tensors[4], tensors[5]
    )
    let leading = Array(extents[0].dropLast(2))
    let (queries, size) = (extents[0][leading.count], extents[0][leading.count + 1])
    let (keys, width) = (extents[2][leading.count], extents[2][leading.count + 1])
    let added = try Attention.addends(
      (6..<8).compactMap { optionalTensor($0, of: operands) }, to: leading + [keys, queries])
    var gradients = extents.map { DenseTensor(shape: $0, repeating: Scalar(0)) }
    for matrix in 0..<leading.reduce(1, *) {
      for query in 0..<queries {
        let row = matrix * queries + query
        let mean = (0..<width).reduce(Scalar(0)) {
          $0 + dy[row * width + $1] * y[row * width + $1]
        }
        for key in 0..<keys {
          let other = matrix * keys + key
          let dot = (0..<size).reduce(Scalar(0)) { $0 + q[row * size + $1] * k[other * size + $1] }
          let score = added.reduce(dot * Scalar(scale)) { $0 + $1[other * queries + query] }
          let weight = Scalar.exp(score - logsum[row])
          let slope = (0..<width).reduce(Scalar(0)) {
            $0 + dy[row * width + $1] * v[other * width + $1]
          }
          let ds = weight * (slope - mean) * Scalar(scale)
          for column in 0..<size {
            gradients[0].elements[row * size + column] += ds * k[other * size + column]
            gradients[1].elements[other * size + column] += ds * q[row * size + column]
          }
          for column in 0..<width {
            gradients[2].elements[other * width + column] += weight * dy[row * width + column]
          }
        }
      }
    }
    return gradients
  }

  public func cost(operands: [TensorType?], results: [TensorType]) -> OperatorCost {
    guard let extents = try? AttentionExtents(Array(operands[1..<4]), nil) else {
      return OperatorCost(multiplyAdds: 0)
    }
    return OperatorCost(
      multiplyAdds: saturatingProduct([
        elementCount(optionalOperand(5, of: operands)), extents.keys,
        3 * extents.size + 2 * extents.width,
      ]))
  }
}
