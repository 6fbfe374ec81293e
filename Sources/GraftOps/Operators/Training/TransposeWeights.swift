// The weights with which a convolution runs backwards.

import GraftDiagnostics
import GraftIR

/// y[i, o, kh, kw] = w[o, i, KH − 1 − kh, KW − 1 − kw] within each of ``groups`` groups: inputs and outputs
/// are exchanged and the kernel is rotated by 180°, so that a convolution with y of a result's
/// gradient is the gradient of the operand.
///
/// w [outputs, channels / groups, kernel height, kernel width] → [channels, outputs / groups, kernel
/// height, kernel width].
///
/// - C1: w has rank 4 and a constant shape.
/// - C2: outputs is a multiple of groups.
public struct TransposeWeights: StructuralOperator {
  public static let opcode: Opcode = "transpose_weights"
  public static let group = OperatorGroup.training
  public static let summary =
    "convolution weights with inputs and outputs transposed and kernels flipped"
  public static let operands: [OperandRule] = [.required("w")]

  public var groups: Int

  public init(groups: Int = 1) { self.groups = groups }
  public init(attributes: Attributes) throws { groups = try attributes.int("groups", default: 1) }
  public var attributes: Attributes { groups == 1 ? [:] : ["groups": .int(groups)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let w = try operand(0, of: operands)
    guard w.rank == 4, let extents = w.shape.constants else {
      throw GraftError(.invalidGraph, "w must have rank 4 and a constant shape, found \(w) [C1]")
    }
    try require(
      "C2", groups >= 1 && extents[0].isMultiple(of: groups),
      "\(extents[0]) outputs do not divide into \(groups) groups")
    return [
      TensorType(
        w.dtype, TensorShape([extents[1] * groups, extents[0] / groups, extents[2], extents[3]]))
    ]
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    let w = operands[0]
    let (perGroup, outputsPerGroup) = (w.shape[1], w.shape[0] / groups)
    let taps = w.shape[2] * w.shape[3]
    var elements: [Element] = []
    elements.reserveCapacity(w.elements.count)
    for channel in 0..<extents[0][0] {
      let (group, local) = (channel / perGroup, channel % perGroup)
      for output in 0..<outputsPerGroup {
        let start = ((group * outputsPerGroup + output) * perGroup + local) * taps
        elements += w.elements[start..<(start + taps)].reversed()
      }
    }
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  // Shape arithmetic never meets weights.
  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? { nil }
}
