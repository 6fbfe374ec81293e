// The weights of a transposed convolution as those of a convolution of the same pixels.

import GraftDiagnostics
import GraftIR

/// The weights with which a convolution computes a transposed one in phases: the rows and columns of the
/// transposed convolution's result whose places are the same modulo its strides are one image each. The result of
/// the convolution has its channels in the order [group, row phase, column phase, output of the group], and
/// ``InterleavePhases`` puts them together.
///
/// w [channels, outputs / groups, kernel height, kernel width] → [outputs · phases, channels / groups,
/// ⌈reach height / stride⌉, ⌈reach width / stride⌉]. Tap a of phase i is the one at stride · (count − 1 − a) + i of
/// the dilated kernel, 0 where it has none.
///
/// - C1: w has rank 4 and a constant shape.
/// - C2: channels is a multiple of groups; strides and dilations are positive.
public struct PhaseWeights: Operator {
  public static let opcode: Opcode = "phase_weights"
  public static let group = OperatorGroup.movement
  public static let summary = "weights of a transposed convolution as those of a convolution"
  public static let operands: [OperandRule] = [.required("w")]

  /// The strides of the transposed convolution: [height, width]
  public var strides: [Int]
  /// [height, width]
  public var dilations: [Int]
  public var groups: Int

  public init(strides: [Int], dilations: [Int] = [1, 1], groups: Int = 1) {
    self.strides = strides
    self.dilations = dilations
    self.groups = groups
  }

  public init(attributes: Attributes) throws {
    strides = try attributes.ints("strides")
    dilations = try attributes.ints("dilations", default: [1, 1])
    groups = try attributes.int("groups", default: 1)
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["strides": .ints(strides)]
    if dilations != [1, 1] { attributes["dilations"] = .ints(dilations) }
    if groups != 1 { attributes["groups"] = .int(groups) }
    return attributes
  }

  /// The kernel of the convolution for one of the transposed convolution: [height, width]
  public func kernel(_ original: [Int]) -> [Int] {
    (0..<2).map { ((original[$0] - 1) * dilations[$0] + strides[$0]) / strides[$0] }
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let w = try operand(0, of: operands)
    guard w.rank == 4, let extents = w.shape.constants else {
      throw GraftError(.invalidGraph, "w must have rank 4 and a constant shape, found \(w) [C1]")
    }
    let taps = Array(extents[2...])
    try require(
      "C2",
      groups >= 1 && extents[0].isMultiple(of: groups) && strides.count == 2
        && dilations.count == 2
        && (strides + dilations + taps).allSatisfy { (1...Window.largest).contains($0) },
      "weights \(w) in \(groups) groups with strides \(strides) and dilations \(dilations)")
    let outputs = saturatingProduct([extents[1], groups] + strides)
    return [
      TensorType(w.dtype, TensorShape([outputs, extents[0] / groups] + kernel(taps)))
    ]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let w): return [.float32(try phases(w, extents[0], zero: 0))]
    case .float64(let w): return [.float64(try phases(w, extents[0], zero: 0))]
    default: throw GraftError(.invalidGraph, "weights must be floating-point numbers")
    }
  }

  private func phases<Element>(
    _ w: DenseTensor<Element>, _ extents: [Int], zero: Element
  ) throws -> DenseTensor<Element> {
    let (groupOutputs, height, width) = (w.shape[1], w.shape[2], w.shape[3])
    let (count, channels) = (strides[0] * strides[1], extents[1])
    var elements: [Element] = []
    elements.reserveCapacity(extents.reduce(1, *))
    for unit in 0..<extents[0] {
      let group = unit / (count * groupOutputs)
      let (phase, output) = (unit / groupOutputs % count, unit % groupOutputs)
      for channel in 0..<channels {
        let from = ((group * channels + channel) * groupOutputs + output) * height * width
        for a in 0..<extents[2] {
          let row = strides[0] * (extents[2] - 1 - a) + phase / strides[1]
          for b in 0..<extents[3] {
            let column = strides[1] * (extents[3] - 1 - b) + phase % strides[1]
            let (i, j) = (row / dilations[0], column / dilations[1])
            let isTap =
              row.isMultiple(of: dilations[0]) && i < height
              && column.isMultiple(of: dilations[1]) && j < width
            elements.append(isTap ? w.elements[from + i * width + j] : zero)
          }
        }
      }
    }
    return try DenseTensor(shape: extents, elements: elements)
  }

  // Shape arithmetic never meets weights.
  public func foldShapes(
    types: [TensorType?], values: [DenseTensor<Dimension>?]
  ) throws -> [DenseTensor<Dimension>]? { nil }
}
