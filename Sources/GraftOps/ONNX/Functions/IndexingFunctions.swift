// ONNX operators that choose elements by indices, made of Graft's own.

import GraftDiagnostics
import GraftIR

extension ONNXFunction {
  static let indexing: [ONNXFunction] = [
    /// Slices of the data at indices of its first axes behind the batch axes.
    ONNXFunction("GatherND", since: 11) { f in
      let (data, indices) = (try f.input(0), try f.input(1))
      let batch = try f.node.int("batch_dims", default: 0)
      let (rows, place) = try f.flattened(data.shape, indices, batchAxes: batch)
      let table = try f.reshape(data, to: rows)
      let found = try f.apply(Gather(axis: 0), table, place)
      let depth = indices.shape[indices.rank - 1].constant ?? 0
      return [
        try f.reshape(
          found,
          to: TensorShape(
            Array(indices.shape.dimensions.dropLast())
              + data.shape.dimensions.dropFirst(batch + depth)))
      ]
    },
    /// The data with slices at indices of its first axes replaced by updates, or combined with them.
    ONNXFunction("ScatterND", since: 11) { f in
      let (data, indices, updates) = (try f.input(0), try f.input(1), try f.input(2))
      let (rows, place) = try f.flattened(data.shape, indices, batchAxes: 0)
      let count = place.shape[0]
      let shape: TensorShape = [count, rows[1]]
      let wide = try f.apply(Expand(shape: shape), try f.reshape(place, to: [count, 1]))
      let written = try f.apply(
        ScatterElements(axis: 0, reduction: try f.node.scatterReduction()),
        try f.reshape(data, to: rows), wide, try f.reshape(updates, to: shape))
      return [try f.reshape(written, to: data.shape)]
    },
    /// The slices along an axis, or the elements, where a constant condition holds.
    ONNXFunction("Compress", since: 9) { f in
      let x = try f.input(0)
      guard let data = try f.node.input(1).data, data.elementCount <= largestConstant,
        let condition = data.integers()
      else {
        throw GraftError(
          .unsupported,
          "its condition is computed or too large, and the size of its result depends on it")
      }
      let places = condition.indices.filter { condition[$0] != 0 }
      let hasAxis = f.node.attributes["axis"] != nil
      let axis = hasAxis ? try x.shape.axis(try f.node.int("axis", default: 0)) : 0
      guard hasAxis || x.shape.elementCount?.constant != nil, !places.isEmpty else {
        throw GraftError(.unsupported, "it would choose among the elements of \(x.type)")
      }
      let from =
        hasAxis ? x : try f.reshape(x, to: TensorShape([x.shape.elementCount ?? 0]))
      try f.node.refuseBatch(among: hasAxis ? [axis] : [])
      if let extent = from.shape[axis].constant, let last = places.last, last >= extent {
        throw GraftError(
          .invalidModel, "its condition chooses element \(last) of axis \(axis) of \(from.type)")
      }
      let indices = f.constant(try TensorData(packing: places, as: .int64, shape: [places.count]))
      return [try f.apply(Gather(axis: axis), from, indices)]
    },
    /// ONNX ReverseSequence, opset 10; https://onnx.ai/onnx/operators/onnx__ReverseSequence.html. The first
    /// sequence_lens elements along an axis of each item of a batch turned round.
    ONNXFunction("ReverseSequence", since: 10) { f in
      let (x, lengths) = (try f.input(0), try f.input(1))
      let batch = try x.shape.axis(try f.node.int("batch_axis", default: 1))
      let time = try x.shape.axis(try f.node.int("time_axis", default: 0))
      guard batch != time, lengths.shape == [x.shape[batch]], let extent = x.shape[time].constant,
        (1...largestConstant).contains(extent)
      else {
        throw GraftError(.unsupported, "sequences of \(x.type) with lengths \(lengths.type)")
      }
      if let known = try f.node.input(1).integers?.elements.compactMap(\.constant),
        let wrong = known.first(where: { !(0...extent).contains($0) })
      {
        throw GraftError(.invalidModel, "a sequence of length \(wrong) in \(x.type)")
      }
      var (line, items) = (
        Array(repeating: 1, count: x.rank), Array(repeating: Dimension(1), count: x.rank)
      )
      line[time] = extent
      items[batch] = x.shape[batch]
      let places = f.constant(
        try TensorData(packing: Array(0..<extent), as: .int64, shape: line))
      let ends = try f.reshape(try f.cast(lengths, to: .int64), to: TensorShape(items))
      let turned = try f.apply(
        Subtract(), try f.apply(Subtract(), ends, try f.integer(1)), places)
      let index = try f.apply(Where(), try f.apply(Less(), places, ends), turned, places)
      return [try f.apply(GatherElements(axis: time), x, try f.expanded(index, to: x.shape))]
    },
    /// ONNX NonZero, opsets 9, 13; https://onnx.ai/onnx/operators/onnx__NonZero.html. The places of the elements
    /// other than 0 of a constant, int64 [rank, number].
    ONNXFunction("NonZero", since: 9, appliesToConstants: true) { f in
      let x = try f.node.input(0)
      guard let data = x.data, let extents = x.type.shape.constants else {
        throw GraftError(
          .unsupported,
          "how many elements are not 0 depends on what the network computes, but Graft knows all shapes at "
            + "compile time")
      }
      guard data.elementCount <= largestConstant else {
        throw GraftError(.unsupported, "its operand \(x.type) is too large")
      }
      let elements = data.doubles()
      var places: [[Int]] = []
      var position = 0
      forEachIndex(of: extents) { index in
        if elements[position] != 0 { places.append(index) }
        position += 1
      }
      let byAxis = extents.indices.flatMap { axis in places.map { $0[axis] } }
      let found = f.constant(
        try TensorData(packing: byAxis, as: .int64, shape: [extents.count, places.count]))
      return [try f.apply(Identity(), found)]
    },
  ]

  /// The largest number of elements of a constant that a function makes.
  static let largestConstant = 1 << 24
}

extension FunctionBuilder {
  /// The whole number `value` as a scalar of int64.
  mutating func integer(_ value: Int) throws -> Term {
    constant(try TensorData(packing: [value], as: .int64, shape: []))
  }

  /// For indices […, depth] of axes of `shape` behind batch axes: its elements as rows [product of these axes, others],
  /// and the row of each index, int64 [number of indices].
  fileprivate mutating func flattened(
    _ shape: TensorShape, _ indices: Term, batchAxes: Int
  ) throws -> (rows: TensorShape, place: Term) {
    guard indices.rank >= 1, let depth = indices.shape[indices.rank - 1].constant, depth >= 1,
      batchAxes >= 0, batchAxes < indices.rank, batchAxes + depth <= shape.rank
    else {
      throw GraftError(.invalidModel, "indices \(indices.type) do not fit \(shape)")
    }
    guard let extents = TensorShape(Array(shape.dimensions[..<(batchAxes + depth)])).constants,
      extents.allSatisfy({ $0 > 0 })
    else { throw GraftError(.unsupported, "indices of axes of \(shape) that grow with the batch") }
    try node.requireIndices(1, in: Array(batchAxes..<(batchAxes + depth)), of: shape)
    let whole = try cast(indices, to: .int64)
    let outer = Array(indices.shape.dimensions.dropLast())
    guard let count = TensorShape(outer).elementCount else {
      throw GraftError(.unsupported, "\(indices.type) indices")
    }
    var place: Term?
    for axis in 0..<depth {
      let part = try reshape(
        try apply(
          Slice(axes: [indices.rank - 1], starts: [axis], extents: [1], steps: [1]), whole),
        to: TensorShape(outer))
      let extent = extents[batchAxes + axis]
      let fromFront = try apply(
        Where(), try apply(Less(), part, try integer(0)),
        try apply(Add(), part, try integer(extent)), part)
      guard let sum = place else {
        place = fromFront
        continue
      }
      place = try apply(
        Add(), try apply(Multiply(), sum, try integer(extent)), fromFront)
    }
    guard var place else { throw GraftError(.inconsistency, "indices without a depth") }
    if batchAxes > 0 {
      // Each batch has rows of its own.
      let batches = extents[..<batchAxes].reduce(1, *)
      let each = extents[batchAxes...].reduce(1, *)
      guard batches <= ONNXFunction.largestConstant else {
        throw GraftError(.unsupported, "\(batches) batches of indices")
      }
      var line = Array(repeating: 1, count: outer.count)
      for axis in 0..<batchAxes { line[axis] = extents[axis] }
      let starts = constant(
        try TensorData(
          packing: (0..<batches).map { $0 * each }, as: .int64, shape: line))
      place = try apply(Add(), place, starts)
    }
    let inner = TensorShape(Array(shape.dimensions[(batchAxes + depth)...])).elementCount
    guard let inner else { throw GraftError(.unsupported, "slices of \(shape)") }
    return (
      [Dimension(saturatingProduct(extents)), inner],
      try reshape(place, to: TensorShape([count]))
    )
  }
}
