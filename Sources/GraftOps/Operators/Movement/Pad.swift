// Padding of a tensor. ONNX Pad, opsets 2 (attributes), 11, 13 (inputs), 18 (axes), 19, 21;
// https://onnx.ai/onnx/operators/onnx__Pad.html

import GraftDiagnostics
import GraftIR

/// y is x with elements added, or with negative pads taken away, before and after each axis.
///
/// - C1: pads holds a number before each axis, then one after each.
/// - C2: a padded axis is constant.
/// - C3: negative pads do not exceed the axis; a reflection is shorter than its axis; an axis with edge
///   padding is not empty.
/// - C4: value is a number of x's element type.
public struct Pad: StructuralOperator, ONNXExportable {
  /// What the added elements are.
  public enum Mode: String, Hashable, Sendable {
    /// ``Pad/value``
    case constant
    /// The elements mirrored at the first and the last.
    case reflect
    /// The nearest element.
    case edge
    /// The elements again, as if the axis were a circle.
    case wrap
  }

  public static let opcode: Opcode = "pad"
  public static let group = OperatorGroup.movement
  public static let summary = "pads a tensor"
  public static let operands: [OperandRule] = [.required("x")]

  /// Before each axis, then after each axis.
  public var pads: [Int]
  public var mode: Mode
  public var value: ScalarConstant

  public init(pads: [Int], mode: Mode = .constant, value: ScalarConstant = .integer(0)) {
    self.pads = pads
    self.mode = mode
    self.value = value
  }

  public init(attributes: Attributes) throws {
    pads = try attributes.ints("pads")
    let name = try attributes.string("mode", default: Mode.constant.rawValue)
    guard let mode = Mode(rawValue: name) else {
      throw GraftError(.invalidGraph, "unknown padding mode \(name.quotedForDisplay)")
    }
    self.mode = mode
    value = attributes["value"] == nil ? .integer(0) : try ScalarConstant(attributes["value"])
  }

  public var attributes: Attributes {
    var attributes: Attributes = ["pads": .ints(pads)]
    if mode != .constant { attributes["mode"] = .string(mode.rawValue) }
    if value.real != 0 { attributes["value"] = value.attribute }
    return attributes
  }

  public var addsElements: Bool { true }

  public func onBytes(_ quantization: Quantization) -> (any Operator)? {
    Pad(
      pads: pads, mode: mode, value: .integer(quantization.element(Float(value.real))))
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try require(
      "C1", pads.count == 2 * x.rank, "\(pads.count) pads for a tensor of rank \(x.rank)")
    try require(
      "C4", x.dtype.isFloatingPoint || value.whole != nil,
      "\(value.real) is not a valid \(x.dtype.rawValue)"
    )
    var shape = x.shape
    for axis in 0..<x.rank {
      let (before, after) = (pads[axis], pads[axis + x.rank])
      if before == 0 && after == 0 { continue }
      guard let extent = x.shape[axis].constant else {
        throw GraftError(.invalidGraph, "axis \(axis) of \(x) is not constant [C2]")
      }
      let largest = TensorShape.largestElementCount
      try require(
        "C3",
        (-extent...largest).contains(before) && (-extent...largest).contains(after)
          && extent + before + after >= 0,
        "pads \(before) and \(after) of axis \(axis) of \(x)")
      switch mode {
      case .constant: break
      case .reflect:
        try require(
          "C3", (0..<max(extent, 1)).contains(before) && (0..<max(extent, 1)).contains(after),
          "axis \(axis) of \(x) cannot be reflected by \(before) and \(after)")
      case .edge, .wrap:
        try require("C3", extent > 0, "axis \(axis) of \(x) has no elements to replicate")
      }
      shape[axis] = Dimension(extent + before + after)
    }
    return [TensorType(x.dtype, shape)]
  }

  public func evaluate(_ operands: [HostTensor?], extents: [[Int]]) throws -> [HostTensor] {
    switch operands.first ?? nil {
    case .float32(let x): return [.float32(try pad(x, Float(value.real), extents[0]))]
    case .float64(let x): return [.float64(try pad(x, value.real, extents[0]))]
    case .integer(let x):
      return [.integer(try evaluate(moving: [x], extents: extents)[0])]
    case nil: throw GraftError(.invalidGraph, "operand 0 is missing")
    }
  }

  /// Pads integers, for which the padding value is independent of the element type.
  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    guard let whole = value.whole, let fill = Dimension(whole) as? Element else {
      throw GraftError(.invalidGraph, "\(value.real) is not an integer [C4]")
    }
    return [try pad(operands[0], fill, extents[0])]
  }

  private func pad<Element>(
    _ x: DenseTensor<Element>, _ fill: Element, _ extents: [Int]
  ) throws -> DenseTensor<Element> {
    let strides = x.strides
    var elements: [Element] = []
    elements.reserveCapacity(extents.reduce(1, *))
    forEachIndex(of: extents) { index in
      var position = 0
      for axis in index.indices {
        guard let source = source(of: index[axis] - pads[axis], in: x.shape[axis]) else {
          elements.append(fill)
          return
        }
        position += source * strides[axis]
      }
      elements.append(x.elements[position])
    }
    return try DenseTensor(shape: extents, elements: elements)
  }

  /// The source index of an index outside the axis; nil for constant padding.
  private func source(of index: Int, in extent: Int) -> Int? {
    if (0..<extent).contains(index) { return index }
    switch mode {
    case .constant: return nil
    case .reflect: return index < 0 ? -index : 2 * (extent - 1) - index
    case .edge: return index < 0 ? 0 : extent - 1
    case .wrap: return (index % extent + extent) % extent
    }
  }

  /// Blocked if only height and width are padded.
  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    guard pads.count == 8 else { return .plain }
    return pads[0] == 0 && pads[1] == 0 && pads[4] == 0 && pads[5] == 0 ? .blocked : .plain
  }

  public static let onnx = [
    ONNXBinding("Pad", opsets: 1...10) { node in
      let name = node.opset < 2 ? "paddings" : "pads"
      return try read(
        node, pads: try node.requiredInts(name), axes: nil,
        value: .real(try node.float("value", default: 0)))
    },
    ONNXBinding("Pad", since: 11) { node in
      guard let pads = try node.fixedIntegers(1, named: "pads") else {
        throw GraftError(.invalidModel, "input 1 is missing")
      }
      return try read(
        node, pads: pads, axes: try node.fixedIntegers(3, named: "axes"),
        value: try node.constantScalar(2, named: "constant_value") ?? .integer(0))
    },
  ]

  private static func read(
    _ node: ONNXNode, pads: [Int], axes: [Int]?, value: ScalarConstant
  ) throws -> ImportedOperator {
    let name = try node.string("mode", default: Mode.constant.rawValue)
    guard let mode = Mode(rawValue: name), mode != .wrap || node.opset >= 19 else {
      throw GraftError(.unsupported, "padding mode \(name.quotedForDisplay)")
    }
    let shape = try node.input(0).type.shape
    let listed = axes ?? Array(0..<shape.rank)
    guard pads.count == 2 * listed.count else {
      throw GraftError(.invalidModel, "\(pads.count) pads for \(listed.count) axes")
    }
    _ = try countFromFront(listed, rank: shape.rank)
    var full = Array(repeating: 0, count: 2 * shape.rank)
    for (index, listedAxis) in listed.enumerated() {
      let axis = try shape.axis(listedAxis)
      full[axis] = pads[index]
      full[axis + shape.rank] = pads[index + listed.count]
    }
    return ImportedOperator(Pad(pads: full, mode: mode, value: value), operands: [0])
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let dtype = try operand(0, of: operands).dtype
    return ExportedOperator(
      "Pad", attributes: [("mode", .string(mode.rawValue))],
      inputs: [.operand(0), .constant(try .vector(pads))]
        + (mode == .constant ? [.constant(try value.data(dtype, shape: []))] : []),
      since: mode == .wrap ? 19 : nil)
  }
}

extension Pad {
  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    let rank = permutation.count
    guard pads.count == 2 * rank else { return nil }
    var pad = self
    for (axis, source) in permutation.enumerated() {
      pad.pads[source] = pads[axis]
      pad.pads[source + rank] = pads[axis + rank]
    }
    return PermutedOperator(pad, resultPermutation: permutation)
  }

  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    pads.allSatisfy { $0 == 0 } ? .operand(0) : nil
  }
}

extension Pad: DifferentiableOperator {
  /// The part of the incoming gradient that was not padding; where elements were repeated, the sum of theirs.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    let axes = (0..<shape.rank).filter { pads[$0] != 0 || pads[$0 + shape.rank] != 0 }
    let extents = axes.compactMap { shape[$0].constant }
    guard extents.count == axes.count else {
      throw GraftError(.unsupported, "the gradient of padding along the batch")
    }
    guard mode != .constant || pads.contains(where: { $0 < 0 }) else {
      let slice = Slice(
        axes: axes, starts: axes.map { pads[$0] }, extents: extents, steps: axes.map { _ in 1 })
      return try builder.setGradient(of: 0, try builder.apply(slice, [try builder.incoming()]))
    }
    var gradient = try builder.incoming()
    for (axis, extent) in zip(axes, extents) {
      let count = extent + pads[axis] + pads[axis + shape.rank]
      let sources = (0..<count).map { source(of: $0 - pads[axis], in: extent) }
      gradient = try builder.scattered(gradient, along: axis, to: sources, of: extent)
    }
    try builder.setGradient(of: 0, gradient)
  }
}

extension Pad {
  /// Added channels are new ones, which what they are added to may have.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    guard let x = relations.type(ofOperand: 0), pads.count == 2 * x.rank, !relations.isParameter(0)
    else { return }
    for axis in 0..<x.rank {
      let (before, after) = (pads[axis], pads[axis + x.rank])
      let isPadded = before != 0 || after != 0
      guard !isPadded || mode == .constant && before >= 0 && after >= 0,
        let own = relations.channels(ofOperand: 0, axis: axis)
      else { continue }
      let added = [before, after].map { relations.makeChannels($0) }
      relations.set(added[0] + own + added[1], ofResult: 0, axis: axis)
    }
  }

  public func keeping(_ channels: KeptChannels) -> any Operator {
    var pad = self
    let rank = pads.count / 2
    for axis in 0..<rank {
      guard let kept = channels.result(0, axis: axis) else { continue }
      pad.pads[axis] = kept.prefix(pads[axis]).count(where: \.self)
      pad.pads[axis + rank] = kept.suffix(pads[axis + rank]).count(where: \.self)
    }
    return pad
  }
}
