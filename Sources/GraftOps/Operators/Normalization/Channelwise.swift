// Shared code of operators with per-channel vectors.

import GraftDiagnostics
import GraftIR

/// y = activation(x · scale[c] + shift[c] + residual) for each channel c of x [batch, channels, …], however
/// its operands, vectors [channels] and perhaps a residual, say scale and shift.
public protocol ChannelwiseOperator: RealOperator, ActivationFusing {
  /// Scale and shift of each channel.
  /// - Parameter vectors: the operands behind x; nil unless they are as many as it takes without a residual.
  func affine(_ vectors: [[Double]]) -> (scale: [Double], shift: [Double])?
}

extension ChannelwiseOperator {
  public static var keepsScores: Bool { true }

  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.carryChannels()
  }

  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    guard permutation.count > 1, permutation[1] == 1 else { return nil }
    return PermutedOperator(self, resultPermutation: permutation)
  }
}

/// The type of operand 0, which must be real with its channels, constant, on axis 1.
func channelwiseType(_ operands: [TensorType?], label: String) throws -> TensorType {
  let x = try operand(0, of: operands)
  try requireReal(label, x)
  try require(
    label, x.rank >= 2 && !x.shape[1].isBatch,
    "x must have constant channels on its second axis, found \(x)")
  return x
}

/// Throws unless `vector` is [channels] of the element type of `x`.
func requireChannelVector(
  _ label: String, _ vector: TensorType, _ name: String, of x: TensorType
) throws {
  try require(
    label, vector.dtype == x.dtype && vector.shape == [x.shape[1]],
    "\(name) must be \(x.dtype.rawValue)[\(x.shape[1])], found \(vector)")
}

/// Applies `body` to every element of x [batch, channels, …] with its channel.
func mapChannels<Scalar>(
  _ x: DenseTensor<Scalar>, _ body: (Scalar, Int) -> Scalar
) -> DenseTensor<Scalar> {
  var result = x
  let channels = x.shape[1]
  let count = x.shape.dropFirst(2).reduce(1, *)
  guard !x.elements.isEmpty else { return result }
  for row in 0..<(x.elements.count / count) {
    let channel = row % channels
    for position in (row * count)..<((row + 1) * count) {
      result.elements[position] = body(x.elements[position], channel)
    }
  }
  return result
}
