// Normalizations and means along axes of plain values.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(softmax operation: any SoftmaxFamily, _ node: Node, isLogarithm: Bool) throws
  {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output])
    guard type(input).layout.isPlain, type(output).layout.isPlain else {
      throw GraftError(.inconsistency, "\(node.opcode) reads plain values, found \(type(input))")
    }
    let dimensions = type(input).shape.dimensions
    let axis = operation.axis
    let normalized = operation.flattens ? dimensions[axis...] : dimensions[axis...axis]
    let innerAxes = operation.flattens ? [] : dimensions[(axis + 1)...]
    guard let count = TensorShape(Array(normalized)).elementCount?.constant, count > 0,
      let inner = TensorShape(Array(innerAxes)).elementCount,
      let outer = TensorShape(Array(dimensions[..<axis])).elementCount,
      let units = inner.multiplied(by: outer)
    else {
      throw GraftError(.unsupported, "\(node.opcode) over axis \(axis) of \(type(input))")
    }
    let constants =
      inner.isBatch
      ? "enum { COUNT = \(count) };\nconst size_t INNER = \(inner.count);"
      : "enum { COUNT = \(count), INNER = \(inner) };"
    let batch = BatchParameter(readBy: [constants])
    let kernel = try library.add(
      "\(node.opcode)_f32_\(count)x\(inner.isBatch ? "n" : "\(inner)")",
      algorithm: "one row at a time, threads split rows"
    ) { name in
      try Templates.softmax.render([
        "banner": "\(node.opcode) of rows of \(count) elements, \(inner) apart.", "name": name,
        "constants": constants, "batch": batch.declaration,
        "stored": isLogarithm ? "value[lane]" : "power[lane]",
        "finish": isLogarithm
          ? "const float shift = __builtin_logf(sum);" : "const float scale = 1.0f / sum;",
        "result": isLogarithm ? "to[i * INNER] - shift" : "to[i * INNER] * scale",
      ])
    }
    try emit(
      kernel, [address(input), address(output)] + batch.arguments,
      units: WorkUnits(1, times: units))
  }

  mutating func lower(_ operation: ReduceMean, _ node: Node) throws {
    if operation.axes == [2, 3], operation.keepsAxes, type(try result(of: node)).rank == 4 {
      return try lowerGlobalPool(node, isAverage: true)
    }
    try reduceMean(try operand(0, of: node), to: try result(of: node), axes: operation.axes)
  }

  /// The mean over `axes` of a plain value, whatever they are.
  mutating func reduceMean(_ input: ValueID, to output: ValueID, axes: [Int]) throws {
    try requireFloat([input, output])
    guard type(input).layout.isPlain, type(output).layout.isPlain else {
      throw GraftError(.inconsistency, "a mean over axes reads plain values, found \(type(input))")
    }
    let shape = type(input).shape
    let strides = try shape.plainStrides()
    let reduced = Set(axes)
    let kept = shape.dimensions.indices.filter { !reduced.contains($0) }
    let inner = shape.dimensions.indices.filter(reduced.contains)
    // A dummy inner axis, so that every kept axis is an outer one.
    let outerLoop = try StridedLoop(
      extents: kept.map { shape[$0] } + [2], strides: [kept.map { strides[$0] } + [0]])
    let innerLoop = try StridedLoop(
      extents: inner.map { shape[$0] } + [2], strides: [inner.map { strides[$0] } + [0]])
    guard let count = TensorShape(inner.map { shape[$0] }).elementCount?.constant, count > 0,
      let rows = TensorShape(kept.map { shape[$0] }).elementCount
    else {
      throw GraftError(.unsupported, "a mean over axes \(axes) of \(type(input))")
    }
    let (outerOffset, innerOffset) = (outerLoop.offset(0), innerLoop.offset(0, row: "i"))
    let batch = BatchParameter(readBy: [outerOffset, innerOffset])
    let kernel = try library.add(
      "reduce_mean_f32_\(count)", algorithm: "one mean at a time in double, threads split means"
    ) { name in
      try Templates.reduceRows.render([
        "banner": "Means over axes \(axes) of \(shape).", "name": name, "count": "\(count)",
        "x_offset": outerOffset, "inner_offset": innerOffset, "batch": batch.declaration,
      ])
    }
    try emit(
      kernel, [address(input), address(output)] + batch.arguments,
      units: WorkUnits(1, times: rows))
  }
}

extension Templates {
  static let softmax = Template("softmax.c", PackageResources.softmax_c_in)
  static let reduceRows = Template("reduce_rows.c", PackageResources.reduce_rows_c_in)
}
