// A tensor in several parts. ONNX Split, opsets 2, 11, 13 (sizes as an input), 18 (num_outputs);
// https://onnx.ai/onnx/operators/onnx__Split.html

import GraftDiagnostics
import GraftIR

/// Result i is the next sizes[i] indices of x along ``axis``.
///
/// - C1: axis is an axis of x, and its extent is constant.
/// - C2: sizes are not negative and add up to that extent; there is at least one.
public struct Split: StructuralOperator, ONNXExportable {
  public static let opcode: Opcode = "split"
  public static let group = OperatorGroup.movement
  public static let summary = "splits a tensor along an axis"
  public static let operands: [OperandRule] = [.required("x")]

  /// Counted from the front.
  public var axis: Int
  public var sizes: [Int]

  public init(axis: Int, sizes: [Int]) {
    self.axis = axis
    self.sizes = sizes
  }

  public init(attributes: Attributes) throws {
    axis = try attributes.int("axis")
    sizes = try attributes.ints("sizes")
  }

  public var attributes: Attributes { ["axis": .int(axis), "sizes": .ints(sizes)] }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    guard (0..<x.rank).contains(axis), let extent = x.shape[axis].constant else {
      throw GraftError(
        .invalidGraph, "axis \(axis) is not an axis of \(x) with a constant extent [C1]")
    }
    // Each size is bounded before they are added up, so that the sum cannot overflow.
    let bounded = sizes.allSatisfy { (0...extent).contains($0) } && sizes.count <= 1 << 16
    try require(
      "C2", !sizes.isEmpty && bounded && sizes.reduce(0, +) == extent,
      "sizes \(sizes) do not add up to the extent \(extent) of axis \(axis)")
    return sizes.map { size in
      var shape = x.shape
      shape[axis] = Dimension(size)
      return TensorType(x.dtype, shape)
    }
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    let x = operands[0]
    let strides = x.strides
    var start = 0
    return try extents.map { extents in
      let elements = try strided(
        x.elements, offset: start * strides[axis], strides: strides, extents: extents)
      start += extents[axis]
      return try DenseTensor(shape: extents, elements: elements)
    }
  }

  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    axis == 1 && optionalOperand(0, of: operands)?.rank == 4 ? .blocked : .plain
  }

  public static let onnx = [
    ONNXBinding("Split", opsets: 1...12) { node in
      try read(
        node, sizes: try node.optionalInts("split") ?? node.fixedIntegers(1, named: "split"),
        parts: node.outputCount)
    },
    ONNXBinding("Split", since: 13) { node in
      let parts = try node.int("num_outputs", default: node.outputCount)
      guard parts == node.outputCount else {
        throw GraftError(
          .invalidModel, "num_outputs is \(parts), the node has \(node.outputCount) outputs")
      }
      return try read(node, sizes: try node.fixedIntegers(1, named: "split"), parts: parts)
    },
  ]

  private static func read(
    _ node: ONNXNode, sizes: [Int]?, parts: Int
  ) throws -> ImportedOperator {
    let shape = try node.input(0).type.shape
    let axis = try shape.axis(try node.int("axis", default: 0))
    if let sizes { return ImportedOperator(Split(axis: axis, sizes: sizes), operands: [0]) }
    guard let extent = shape[axis].constant else {
      throw GraftError(.unsupported, "splitting an axis that depends on the batch")
    }
    guard parts >= 1, node.opset >= 18 || extent.isMultiple(of: parts) else {
      throw GraftError(.invalidModel, "\(extent) indices do not split into \(parts) equal parts")
    }
    // From opset 18 on the last part may be smaller.
    let size = extent / parts + (extent.isMultiple(of: parts) ? 0 : 1)
    let last = extent - size * (parts - 1)
    guard last >= 0 else {
      throw GraftError(.invalidModel, "\(extent) indices do not split into \(parts) parts")
    }
    let equal = Array(repeating: size, count: parts - 1) + [last]
    return ImportedOperator(Split(axis: axis, sizes: equal), operands: [0])
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    ExportedOperator(
      "Split", attributes: [("axis", .int(axis))],
      inputs: [.operand(0), .constant(try .vector(sizes))])
  }
}

extension Split {
  public func axesWorkedAlong(rank: Int) -> [Int] { [axis] }

  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    guard permutation.indices.contains(axis) else { return nil }
    var split = self
    split.axis = permutation[axis]
    return PermutedOperator(split, resultPermutation: permutation)
  }
}

extension Split: DifferentiableOperator {
  /// The parts' gradients side by side, with zeros for parts that nothing reads.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let extent = sizes.reduce(0, +)
    let rank = builder.shape(of: try builder.operand(0)).rank
    var sum: ValueID?
    var (run, start, end): ([ValueID], Int, Int) = ([], 0, 0)
    func addRun(_ builder: inout GradientBuilder) throws {
      guard !run.isEmpty else { return }
      var own = run.count == 1 ? run[0] : try builder.apply(Concatenate(axis: axis), run)
      if end - start < extent {
        var pads = Array(repeating: 0, count: 2 * rank)
        (pads[axis], pads[axis + rank]) = (start, extent - end)
        own = try builder.apply(Pad(pads: pads), [own])
      }
      sum = try sum.map { try builder.apply(Add(), [$0, own]) } ?? own
      run = []
    }
    for index in builder.node.results.indices {
      if let gradient = builder.gradient(ofResult: index) {
        if run.isEmpty { start = end }
        run.append(gradient)
      } else {
        try addRun(&builder)
      }
      end += sizes[index]
      if index == builder.node.results.count - 1 { try addRun(&builder) }
    }
    if let sum { try builder.setGradient(of: 0, sum) }
  }
}

extension Split {
  public func keeping(_ channels: KeptChannels) -> any Operator {
    var split = self
    for index in sizes.indices {
      if let kept = channels.result(index, axis: axis) {
        split.sizes[index] = kept.count(where: \.self)
      }
    }
    return split
  }
}
