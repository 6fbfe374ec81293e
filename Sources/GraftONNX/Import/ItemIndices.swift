// Indices that grow by one step from each item of the batch to the next. PyTorch's dynamo exporter writes as_strided as
// a Gather with a Range over the batch among its indices; where the step is the size of an item, each item is
// gathered from itself alone.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Integers with the batch as one axis: that of item n at some place is the one of `base` there, plus n · step.
struct ItemIndices {
  /// Has extent 1 on the batch's axis.
  var base: DenseTensor<Int>
  var axis: Int
  var step: Int

  /// 0, 1, 2 … for the items of the batch.
  static let range = ItemIndices(
    base: DenseTensor(shape: [1], repeating: 0), axis: 0, step: 1)

  var type: TensorType {
    var shape = TensorShape(base.shape)
    shape[axis] = .batch
    return TensorType(.int64, shape)
  }

  /// - Throws: ``GraftError`` of kind `unsupported` on overflow.
  func times(_ factor: Int) throws -> ItemIndices {
    var result = self
    result.base.elements = try base.elements.map { try Self.product($0, factor) }
    result.step = try Self.product(step, factor)
    return result
  }

  /// Plus a constant that broadcasts and does not vary along the batch's axis; nil for another.
  func plus(_ other: DenseTensor<Int>) throws -> ItemIndices? {
    let shapes = [TensorShape(base.shape), TensorShape(other.shape)]
    let rank = max(base.rank, other.rank)
    let place = axis + rank - base.rank
    let own = place - (rank - other.rank)
    guard own < 0 || other.shape[own] == 1 else { return nil }
    var result = self
    let types = shapes.map { TensorType(.int64, $0) }
    guard
      let sum = try Add().foldShapes(
        types: types, values: [base, other].map { $0.map { Dimension($0) } })?.first
    else { return nil }
    result.base = try DenseTensor(
      shape: sum.shape, elements: sum.elements.compactMap(\.constant))
    result.axis = place
    return result
  }

  /// With axes of extent 1 at these places of the result.
  func unsqueezed(_ axes: [Int]) throws -> ItemIndices {
    let rank = base.rank + axes.count
    let places = Set(try axes.map { try TensorShape(Array(repeating: 1, count: rank)).axis($0) })
    guard places.count == axes.count else {
      throw GraftError(.invalidModel, "\(axes) are not different axes")
    }
    var result = self
    var rest = base.shape[...]
    result.base.shape = (0..<rank).map { places.contains($0) ? 1 : rest.popFirst() ?? 1 }
    result.axis = (0..<rank).filter { !places.contains($0) }[axis]
    return result
  }

  private static func product(_ a: Int, _ b: Int) throws -> Int {
    let (product, overflow) = a.multipliedReportingOverflow(by: b)
    guard !overflow else { throw GraftError(.unsupported, "\(a) times \(b) is too large") }
    return product
  }
}

extension Converter {
  /// Converts a node that makes or reads numbers of the batch's items.
  /// - Returns: whether it is one.
  mutating func convertItemIndices(
    _ node: FileNode, _ inputs: [ONNXNode.Input?], _ place: Int
  ) throws -> Bool {
    let numbers = inputs.map { $0?.integers?.elements }
    if node.opType == "Range", numbers == [[0], [.batch], [1]], let output = node.outputs.first {
      set(output, .itemIndices(.range), isLiteral: true)
      return true
    }
    let known = node.inputs.map { name -> ItemIndices? in
      if case .itemIndices(let indices) = imported(name) { indices } else { nil }
    }
    guard let position = known.firstIndex(where: { $0 != nil }), let indices = known[position],
      let output = node.outputs.first
    else { return false }
    let others = inputs.enumerated().filter { $0.offset != position }.map {
      $0.element?.integers.flatMap { tensor in
        constants(tensor).flatMap { try? DenseTensor(shape: tensor.shape, elements: $0) }
      }
    }
    var result: ItemIndices?
    switch node.opType {
    case "Identity", "Cast": result = indices
    case "Mul":
      if let factor = others.first ?? nil, factor.elements.count == 1,
        factor.rank <= indices.base.rank
      {
        result = try indices.times(factor.elements[0])
      }
    case "Add":
      if let other = others.first ?? nil { result = try indices.plus(other) }
    case "Unsqueeze":
      let axes = others.first??.elements
      result = try axes.map { try indices.unsqueezed($0) }
    case "Slice":
      if position == 0, isWhole(numbers), indices.base.rank == 1 { result = indices }
    case "ScatterND":
      if position == 1, try scatter(node, inputs, indices) { return true }
    case "Gather":
      if position == 1, try gather(node, inputs, indices, place) { return true }
    default: break
    }
    guard let result else {
      throw GraftError(
        .unsupported,
        "its input \(node.inputs[position].quotedForDisplay) numbers the items of the batch")
    }
    set(output, .itemIndices(result), isLiteral: true)
    return true
  }

  /// Whether these inputs of a Slice take all items of its first axis, as x[:] does.
  private func isWhole(_ inputs: [[Dimension]?]) -> Bool {
    func number(_ index: Int) -> [Dimension]? {
      inputs.indices.contains(index) ? inputs[index] : nil
    }
    guard number(1) == [0], let end = number(2)?.first,
      end == .batch || (end.constant ?? 0) >= Slice.endOfAnyBatch
    else { return false }
    return [nil, [0]].contains(number(3)) && [nil, [1]].contains(number(4))
  }

  /// A ScatterND that replaces every item by the update of its number: the updates.
  private mutating func scatter(
    _ node: FileNode, _ inputs: [ONNXNode.Input?], _ indices: ItemIndices
  ) throws -> Bool {
    guard indices.base.shape == [1, 1], indices.base.elements == [0], indices.step == 1,
      indices.axis == 0, inputs.count == 3, let x = inputs[0]?.type, let updates = inputs[2]?.type,
      x.rank > 0, x.shape[0] == .batch, x == updates,
      try seen(node, inputs).string("reduction", default: "none") == "none",
      let output = node.outputs.first, let value = imported(node.inputs[2])
    else { return false }
    alias(output, to: value, named: node.inputs[2])
    return true
  }

  /// A Gather of rows of one item each: from each item alone.
  private mutating func gather(
    _ node: FileNode, _ inputs: [ONNXNode.Input?], _ indices: ItemIndices, _ place: Int
  ) throws -> Bool {
    guard try seen(node, inputs).int("axis", default: 0) == 0, indices.axis == 0,
      let x = inputs.first??.type, x.rank == 1, x.shape[0] == .batch(times: indices.step),
      indices.step > 0, indices.base.elements.allSatisfy({ (0..<indices.step).contains($0) })
    else { return false }
    let shape = TensorShape([.batch] + indices.base.shape.dropFirst().map { Dimension($0) })
    if indices.base.elements.elementsEqual(0..<indices.step) {
      try append(Reshape(shape: shape), [node.inputs[0]], for: node, place) { _ in node.outputs }
      return true
    }
    let places = "\(node.displayName).places"
    set(
      places,
      .constant(
        try TensorData(
          packing: indices.base.elements, as: .int64, shape: [indices.base.elements.count]),
        isFolded: true, id: nil), isLiteral: true)
    let rows = try reshaped(
      node.inputs[0], to: [.batch, Dimension(indices.step)], for: node, place)
    let found = "\(node.displayName).found"
    try append(Gather(axis: 1), [rows, places], for: node, place) { _ in [found] }
    try append(Reshape(shape: shape), [found], for: node, place) { _ in node.outputs }
    return true
  }
}
