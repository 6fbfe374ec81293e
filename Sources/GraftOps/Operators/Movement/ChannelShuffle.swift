// The channel shuffle of ShuffleNet, which exporters write as reshape, transpose, reshape. Passes make
// it; ONNX has no operator for it.

import GraftDiagnostics
import GraftIR

/// y[n, i · groups + g] = x[n, g · channels / groups + i] (Zhang et al. 2018).
///
/// x [batch, channels, …].
///
/// - C1: x has rank 2 or more and constant channels.
/// - C2: channels is a multiple of groups.
public struct ChannelShuffle: StructuralOperator {
  public static let opcode: Opcode = "channel_shuffle"
  public static let group = OperatorGroup.movement
  public static let summary = "transposes groups of channels (channel shuffle)"
  public static let operands: [OperandRule] = [.required("x")]

  public var groups: Int

  public init(groups: Int) { self.groups = groups }
  public init(attributes: Attributes) throws { groups = try attributes.int("groups") }
  public var attributes: Attributes { ["groups": .int(groups)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    guard x.rank >= 2, let channels = x.shape[1].constant else {
      throw GraftError(
        .invalidGraph, "x must have constant channels on its second axis, found \(x) [C1]")
    }
    try require(
      "C2", groups >= 1 && channels.isMultiple(of: groups),
      "\(channels) channels do not form \(groups) groups")
    return [TensorType(x.dtype, x.shape)]
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    let x = operands[0]
    let (batch, channels) = (x.shape[0], x.shape[1])
    let count = x.shape.dropFirst(2).reduce(1, *)
    let perGroup = channels / groups
    let elements = try strided(
      x.elements, offset: 0,
      strides: [channels * count, count, perGroup * count, 1],
      extents: [batch, perGroup, groups, count])
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    results.first?.rank == 4 ? .blocked : .plain
  }
}

extension ChannelShuffle {
  /// Each group loses equally many.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    relations.unite(partsOf: relations.channels(ofOperand: 0, axis: 1), groups)
    try relations.move(by: self)
  }

  public var keepsValues: Bool { true }

  /// A transpose of [groups, channels of a group].
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    let x = try builder.operand(0)
    let shape = builder.shape(of: x)
    guard shape.rank >= 2, let channels = shape[1].constant, groups > 0 else {
      throw GraftError(.invalidGraph, "a tensor of shape \(shape) has no constant channels")
    }
    let split = TensorShape(
      [shape[0], Dimension(groups), Dimension(channels / groups)] + shape.dimensions[2...])
    let grouped = try builder.apply(Reshape(shape: split), [x])
    let order = [0, 2, 1] + Array(3..<(shape.rank + 1))
    let swapped = try builder.apply(Transpose(permutation: order), [grouped])
    return try builder.apply(Reshape(shape: shape), [swapped])
  }
}
