// A part of a tensor, with strides. ONNX Slice, opsets 1 (attributes), 10, 11, 13 (inputs);
// https://onnx.ai/onnx/operators/onnx__Slice.html

import GraftDiagnostics
import GraftIR

/// Along each of ``axes``, index i of y is index start + i · step of x, for extent indices.
///
/// ONNX's ends and negative positions are resolved when importing, so nothing is clamped here.
///
/// - C1: axes are different axes of x, ascending; starts, extents and steps are as many.
/// - C2: the sliced axes are constant, no step is longer than its axis, and every index that is read
///   is in x.
public struct Slice: StructuralOperator, ONNXExportable {
  public static let opcode: Opcode = "slice"
  public static let group = OperatorGroup.movement
  public static let summary = "a slice of a tensor, with steps"
  public static let operands: [OperandRule] = [.required("x")]

  public var axes: [Int]
  /// The first index that is read; 0 where the extent is 0.
  public var starts: [Int]
  /// How many are read.
  public var extents: [Int]
  /// Not 0; negative reads backwards.
  public var steps: [Int]

  public init(axes: [Int], starts: [Int], extents: [Int], steps: [Int]) {
    self.axes = axes
    self.starts = starts
    self.extents = extents
    self.steps = steps
  }

  public init(attributes: Attributes) throws {
    axes = try attributes.ints("axes")
    starts = try attributes.ints("starts")
    extents = try attributes.ints("extents")
    steps = try attributes.ints("steps", default: Array(repeating: 1, count: axes.count))
  }

  public var attributes: Attributes {
    var attributes: Attributes = [
      "axes": .ints(axes), "starts": .ints(starts), "extents": .ints(extents),
    ]
    if !steps.allSatisfy({ $0 == 1 }) { attributes["steps"] = .ints(steps) }
    return attributes
  }

  public func inferTypes(_ operands: [TensorType?]) throws -> [TensorType] {
    let x = try operand(0, of: operands)
    try requireAxes("C1", axes, rank: x.rank)
    try require(
      "C1",
      starts.count == axes.count && extents.count == axes.count && steps.count == axes.count,
      "\(axes.count) axes, \(starts.count) starts, \(extents.count) extents, "
        + "\(steps.count) steps")
    var shape = x.shape
    for (index, axis) in axes.enumerated() {
      guard let available = x.shape[axis].constant else {
        throw GraftError(.invalidGraph, "axis \(axis) of \(x) is not constant [C2]")
      }
      try require(
        "C2",
        Self.fits(
          start: starts[index], extent: extents[index], step: steps[index], in: available),
        "\(extents[index]) indices from \(starts[index]) by steps of \(steps[index]) are outside axis "
          + "\(axis) of \(x)")
      shape[axis] = Dimension(extents[index])
    }
    return [TensorType(x.dtype, shape)]
  }

  private static func fits(start: Int, extent: Int, step: Int, in available: Int) -> Bool {
    let longest = max(available, 1)
    guard extent >= 0, step != 0, (-longest...longest).contains(step) else { return false }
    guard extent > 0 else { return start == 0 }
    guard (0..<available).contains(start), extent <= available else { return false }
    let (reach, overflow) = step.multipliedReportingOverflow(by: extent - 1)
    guard !overflow, (-available...available).contains(reach) else { return false }
    return (0..<available).contains(start + reach)
  }

  public func evaluate<Element: Sendable>(
    moving operands: [DenseTensor<Element>], extents: [[Int]]
  ) throws -> [DenseTensor<Element>] {
    var strides = operands[0].strides
    var offset = 0
    for (index, axis) in axes.enumerated() {
      offset += starts[index] * strides[axis]
      strides[axis] *= steps[index]
    }
    let elements = try strided(
      operands[0].elements, offset: offset, strides: strides, extents: extents[0])
    return [try DenseTensor(shape: extents[0], elements: elements)]
  }

  /// Blocked if it selects channels of images.
  public var takesBlocksOfBytes: Bool { true }

  public func layoutSupport(operands: [TensorType?], results: [TensorType]) -> LayoutSupport {
    axes == [1] && results.first?.rank == 4 ? .blocked : .plain
  }

  public static let onnx = [
    ONNXBinding("Slice", opsets: 1...9) { node in
      try read(
        node, starts: try node.requiredInts("starts").map { Dimension($0) },
        ends: try node.requiredInts("ends").map { Dimension($0) },
        axes: try node.optionalInts("axes"), steps: nil)
    },
    ONNXBinding("Slice", since: 10) { node in
      guard let starts = try node.constantIntegers(1, named: "starts"),
        let ends = try node.constantIntegers(2, named: "ends")
      else { throw GraftError(.invalidModel, "inputs 1 and 2 are missing") }
      return try read(
        node, starts: starts, ends: ends, axes: try node.fixedIntegers(3, named: "axes"),
        steps: try node.fixedIntegers(4, named: "steps"))
    },
  ]

  private static func read(
    _ node: ONNXNode, starts: [Dimension], ends: [Dimension], axes: [Int]?, steps: [Int]?
  ) throws -> ImportedOperator {
    let shape = try node.input(0).type.shape
    let listed = axes ?? Array(0..<starts.count)
    let steps = steps ?? Array(repeating: 1, count: starts.count)
    guard starts.count == ends.count, starts.count == listed.count, starts.count == steps.count
    else {
      throw GraftError(
        .invalidModel,
        "\(starts.count) starts, \(ends.count) ends, \(listed.count) axes, "
          + "\(steps.count) steps")
    }
    guard !steps.contains(0) else { throw GraftError(.invalidModel, "a step is 0") }
    _ = try countFromFront(listed, rank: shape.rank)
    var parts: [(axis: Int, start: Int, extent: Int, step: Int)] = []
    for (index, listedAxis) in listed.enumerated() {
      let axis = try shape.axis(listedAxis)
      let (start, end, step) = (starts[index], ends[index], steps[index])
      let extent = shape[axis]
      if isWhole(extent, from: start, to: end, step: step, freedBatch: node.freedBatch) {
        continue
      }
      guard let available = extent.constant, let start = start.constant, let end = end.constant
      else {
        throw GraftError(
          .unsupported,
          "a slice of an axis that depends on the batch: \(start) to \(end) of "
            + "\(extent)")
      }
      let part = resolve(start: start, end: end, step: step, in: available)
      if part.step == 1 && part.extent == available { continue }
      parts.append((axis, part.start, part.extent, part.step))
    }
    guard !parts.isEmpty else { return ImportedOperator(Identity(), operands: [0]) }
    parts.sort { $0.axis < $1.axis }
    return ImportedOperator(
      Slice(
        axes: parts.map(\.axis), starts: parts.map(\.start), extents: parts.map(\.extent),
        steps: parts.map(\.step)),
      operands: [0])
  }

  /// An end behind every batch: exporters write 10⁹, 2³¹ − 1 or 2⁶³ − 1 for none.
  public static let endOfAnyBatch = 1 << 26

  /// Whether a slice takes all of its axis at every batch.
  private static func isWhole(
    _ extent: Dimension, from start: Dimension, to end: Dimension, step: Int, freedBatch: Int?
  ) -> Bool {
    guard step == 1, start == 0 else { return false }
    if end.isBatch { return extent.isBatch && end.coefficient >= extent.coefficient }
    if end.coefficient >= Self.endOfAnyBatch { return true }
    guard extent.isBatch else { return end.coefficient >= extent.coefficient }
    guard let fixed = freedBatch.flatMap({ extent.extent(batch: $0) }) else { return false }
    return end.coefficient >= fixed
  }

  /// ONNX's rules: negative positions count from the end, and both are clamped.
  private static func resolve(
    start: Int, end: Int, step: Int, in available: Int
  ) -> (start: Int, extent: Int, step: Int) {
    let forward = step > 0
    let limits = forward ? 0...available : -1...(available - 1)
    func clamp(_ position: Int) -> Int {
      min(max(position < 0 ? position + available : position, limits.lowerBound), limits.upperBound)
    }
    // A longer step reads one element all the same; bounding it keeps the arithmetic in range.
    let step = min(max(step, -max(available, 1)), max(available, 1))
    let first = forward || available == 0 ? clamp(start) : max(clamp(start), 0)
    let last = clamp(end)
    let span = forward ? last - first : first - last
    let size = forward ? step : -step
    let extent = span <= 0 || available == 0 ? 0 : (span + size - 1) / size
    return (extent == 0 ? 0 : first, extent, step)
  }

  public func exported(
    operands: [TensorType?], results: [TensorType], opset: Int
  ) throws -> ExportedOperator {
    let ends = axes.indices.map { index -> Int in
      guard extents[index] > 0 else { return 0 }
      let last = starts[index] + (extents[index] - 1) * steps[index]
      if steps[index] > 0 { return last + 1 }
      return last == 0 ? Int.min : last - 1
    }
    return ExportedOperator(
      "Slice",
      inputs: [.operand(0)]
        + (try [starts, ends, axes, steps].map { .constant(try .vector($0)) }))
  }
}

extension Slice {
  public func axesWorkedAlong(rank: Int) -> [Int] { axes }

  public func permuted(by permutation: [Int]) -> PermutedOperator? {
    guard axes.allSatisfy(permutation.indices.contains) else { return nil }
    let order = axes.indices.sorted { permutation[axes[$0]] < permutation[axes[$1]] }
    let slice = Slice(
      axes: order.map { permutation[axes[$0]] }, starts: order.map { starts[$0] },
      extents: order.map { extents[$0] }, steps: order.map { steps[$0] })
    return PermutedOperator(slice, resultPermutation: permutation)
  }

  public func simplified(_ node: SimplifiableNode) throws -> Simplification? {
    node.keepsType && steps.allSatisfy { $0 == 1 } ? .operand(0) : nil
  }
}

extension Slice: DifferentiableOperator {
  /// Zeros around the incoming gradient, and between its elements if the slice has steps.
  public func buildGradient(_ builder: inout GradientBuilder) throws {
    let shape = builder.shape(of: try builder.operand(0))
    var gradient = try builder.incoming()
    var pads = Array(repeating: 0, count: 2 * shape.rank)
    var strides = [1, 1]
    var spread = shape.dimensions.suffix(2).map { $0.constant ?? 0 }
    for (index, axis) in axes.enumerated() {
      guard let extent = shape[axis].constant else {
        throw GraftError(.unsupported, "the gradient of a slice along the batch")
      }
      let isSpatial = shape.rank == 4 && axis >= 2
      guard steps[index] == 1 || (steps[index] > 1 && isSpatial) else {
        let places = (0..<extents[index]).map { starts[index] + $0 * steps[index] }
        gradient = try builder.scattered(gradient, along: axis, to: places, of: extent)
        continue
      }
      let reach = (extents[index] - 1) * steps[index] + 1
      if isSpatial { (strides[axis - 2], spread[axis - 2]) = (steps[index], reach) }
      pads[axis] = starts[index]
      pads[axis + shape.rank] = extent - starts[index] - reach
    }
    if strides != [1, 1] {
      gradient = try builder.apply(InsertZeros(strides: strides, extents: spread), [gradient])
    }
    if pads.contains(where: { $0 != 0 }) {
      gradient = try builder.apply(Pad(pads: pads), [gradient])
    }
    try builder.setGradient(of: 0, gradient)
  }
}

extension Slice {
  /// With steps along an axis, all its channels stay.
  public func relateChannels(_ relations: inout ChannelRelations) throws {
    try relations.move(
      by: self, stuck: Set(zip(axes, steps).filter { $0.1 != 1 }.map(\.0)))
  }

  public func keeping(_ channels: KeptChannels) -> any Operator {
    var slice = self
    for (index, axis) in axes.enumerated() {
      guard let kept = channels.operand(0, axis: axis), starts[index] >= 0 else { continue }
      let end = min(starts[index] + extents[index], kept.count)
      slice.starts[index] = kept.prefix(starts[index]).count(where: \.self)
      slice.extents[index] = kept.prefix(end).count(where: \.self) - slice.starts[index]
    }
    return slice
  }
}
