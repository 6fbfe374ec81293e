// The image of which several others are every n-th row and column.

import GraftDiagnostics
import GraftIR

/// y[n, c, h, w] = x[n, c′, (h + offset height) / stride height, (w + offset width) / stride width], where the
/// channels of x are [group, row phase, column phase, channel of the group] and c′ is the one of the remainders of
/// both quotients.
///
/// x [batch, channels · phases, height, width] → y [batch, channels, ``extents``].
///
/// - C1: x has rank 4 and constant channels, height and width.
/// - C2: channels of x are a multiple of groups · phases.
/// - C3: x has every pixel that y reads.
public struct InterleavePhases: Operator {
  public static let opcode: Opcode = "interleave_phases"
  public static let group = OperatorGroup.movement
  public static let summary = "an image from its rows and columns at every n-th place"
  public static let operands: [OperandRule] = [.required("x")]

  /// Phases: [height, width]
  public var strides: [Int]
  /// Rows and columns that are left out at the start: [height, width]
  public var offsets: [Int]
  /// The height and width of y.
  public var extents: [Int]
  public var groups: Int

  public init(strides: [Int], offsets: [Int] = [0, 0], extents: [Int], groups: Int = 1) {
    self.strides = strides
    self.offsets = offsets
    self.extents = extents
    self.groups = groups
  }

  public init(attributes: Attributes) throws {
    strides = try attributes.ints("strides")
    offsets = try attributes.ints("offsets", default: [0, 0])
    extents = try attributes.ints("extents")
    groups = try attributes.int("groups", default: 1)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["strides": .ints(strides), "extents": .ints(extents)]
    if offsets != [0, 0] { attributes["offsets"] = .ints(offsets) }
    if groups != 1 { attributes["groups"] = .int(groups) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    guard x.rank == 4, let channels = x.shape[1].constant, let height = x.shape[2].constant,
      let width = x.shape[3].constant
    else {
      throw GraftError(.invalidGraph, "x must be an image of constant size, found \(x) [C1]")
    }
    let numbers = strides + extents + [groups]
    try require(
      "C2",
      strides.count == 2 && extents.count == 2 && offsets.count == 2
        && numbers.allSatisfy { (1...Window.largest).contains($0) }
        && channels.isMultiple(of: saturatingProduct(strides + [groups])),
      "\(channels) channels do not divide into \(groups) groups of phases \(strides)")
    try require(
      "C3",
      zip([height, width], 0..<2).allSatisfy { size, axis in
        (0...Window.largest).contains(offsets[axis])
          && (offsets[axis] + extents[axis] - 1) / strides[axis] < size
      }, "\(height)x\(width) pixels in phases \(strides) do not have \(extents) from \(offsets) on")
    return [
      TensorType(
        x.dtype,
        [
          x.shape[0], Dimension(channels / strides[0] / strides[1]), Dimension(extents[0]),
          Dimension(extents[1]),
        ])
    ]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let x): return [.float32(try interleaved(x, extents[0]))]
    case .float64(let x): return [.float64(try interleaved(x, extents[0]))]
    case .integer(let x): return [.integer(try interleaved(x, extents[0]))]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  private func interleaved<Element>(
    _ x: DenseTensor<Element>, _ shape: [Int]
  ) throws -> DenseTensor<Element> {
    let phases = strides[0] * strides[1]
    let groupChannels = shape[1] / groups
    var elements: [Element] = []
    elements.reserveCapacity(shape.reduce(1, *))
    forEachIndex(of: shape) { index in
      let (row, column) = (index[2] + offsets[0], index[3] + offsets[1])
      let phase = row % strides[0] * strides[1] + column % strides[1]
      let (group, local) = (index[1] / groupChannels, index[1] % groupChannels)
      let channel = (group * phases + phase) * groupChannels + local
      let plane = (index[0] * x.shape[1] + channel) * x.shape[2]
      elements.append(x.elements[(plane + row / strides[0]) * x.shape[3] + column / strides[1]])
    }
    return try DenseTensor(shape: shape, elements: elements)
  }

  /// Blocked where whole blocks of channels move.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    guard let result = results.first, result.dtype == .float32,
      let channels = result.shape.dimensions.dropFirst().first?.constant
    else { return .plain }
    return groups > 0 && (channels / groups).isMultiple(of: 16) ? .blocked : .plain
  }

  /// [N, groups, phases…, channels, H, W] with the phases behind height and width, cut out.
  public func decomposed(_ builder: inout DecompositionBuilder) throws -> ValueID? {
    let x = try builder.operand(0)
    let shape = builder.shape(of: x)
    guard let channels = shape[1].constant, let height = shape[2].constant,
      let width = shape[3].constant
    else { throw GraftError(.unsupported, "an image of \(shape)") }
    let each = channels / (groups * strides[0] * strides[1])
    let split = try builder.apply(
      Reshape(
        shape: TensorShape(
          [shape[0]]
            + [groups, strides[0], strides[1], each, height, width].map { Dimension($0) })), [x])
    let turned = try builder.apply(Transpose(permutation: [0, 1, 4, 5, 2, 6, 3]), [split])
    let whole = try builder.apply(
      Reshape(
        shape: [
          shape[0], Dimension(groups * each), Dimension(height * strides[0]),
          Dimension(width * strides[1]),
        ]), [turned])
    return try builder.apply(
      Slice(axes: [2, 3], starts: offsets, extents: extents, steps: [1, 1]), [whole])
  }
}
