// Rows chosen by indices, and their transpose, the sums of rows by indices.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  /// Constant indices of more runs than this are read at run time, as computed ones are.
  private static let mostCopies = 8

  /// One copy for each run of constant indices, if there are few.
  mutating func lower(_ operation: Gather, _ node: Node) throws {
    let (input, indices) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    let xShape = type(input).shape
    guard let extent = xShape[operation.axis].constant else {
      throw GraftError(
        .unsupported, "a gather along an axis that grows with the batch, of \(xShape)")
    }
    guard let positions = graph[indices].parameter?.data?.integers() else {
      return try gatherRows(operation, input, indices, extent: extent, to: output)
    }
    for position in positions where !(-extent..<extent).contains(position) {
      throw GraftError(
        .invalidGraph, "index \(position) is outside axis \(operation.axis) of \(xShape)")
    }
    let absolute = positions.map { $0 < 0 ? $0 + extent : $0 }
    guard let runs = IndexRun.covering(absolute, atMost: Self.mostCopies) else {
      return try gatherRows(operation, input, indices, extent: extent, to: output)
    }
    let axis = operation.axis
    let indexRank = type(indices).rank
    let xStrides = try xShape.plainStrides()
    let yStrides = try type(output).shape.plainStrides()
    let inner = indexRank > 0 ? yStrides[axis + indexRank - 1] : 0
    /// A list of all axes with two in place of the gathered ones.
    func axes(_ all: [Dimension], _ two: [Dimension], rank: Int) -> [Dimension] {
      Array(all[..<axis]) + two + Array(all[(axis + rank)...])
    }
    var number = 0
    for run in runs {
      let from = try [run.step, run.innerStep].map { try xStrides[axis].times(Dimension($0)) }
      let to = try [run.innerCount, 1].map { try inner.times(Dimension($0)) }
      let extents = axes(
        xShape.dimensions, [Dimension(run.count), Dimension(run.innerCount)], rank: 1)
      let loop = try StridedLoop(
        extents: extents,
        strides: [axes(xStrides, from, rank: 1), axes(yStrides, to, rank: indexRank)])
      try copyPlain(
        loop: loop, from: address(input), to: address(output),
        xOffset: [xStrides[axis].times(Dimension(run.first))],
        yOffset: [inner.times(Dimension(number))], dtype: type(output).dtype)
      number += run.length
    }
  }

  /// Rows by indices that are computed while the network runs.
  private mutating func gatherRows(
    _ operation: Gather, _ input: ValueID, _ indices: ValueID, extent: Int, to output: ValueID
  ) throws {
    let (x, choice) = (type(input), type(indices))
    let before = TensorShape(Array(x.shape.dimensions[..<operation.axis])).elementCount
    let count = TensorShape(Array(x.shape.dimensions[(operation.axis + 1)...])).elementCount
    guard choice.dtype == .int32 || choice.dtype == .int64, extent > 0, let count, let before,
      let chosen = choice.shape.elementCount, let units = before.multiplied(by: chosen),
      units.multiplied(by: count) != nil
    else { throw GraftError(.unsupported, "a gather from \(x) by \(choice)") }
    let element = x.dtype.movedType
    let constants =
      count.isBatch
      ? "enum { EXTENT = \(extent) };\nconst size_t COUNT = \(count.count);"
      : "enum { EXTENT = \(extent), COUNT = \(count) };"
    let isAlone = before == 1
    let (outer, position) =
      isAlone && chosen.isBatch
      ? ("0", "unit") : ("unit / \(chosen.factor)", "unit % \(chosen.factor)")
    let batch = BatchParameter(readBy: [constants, outer, position])
    let kernel = try library.add(
      "gather_\(element.name)_\(choice.dtype.rawValue)_\(extent)x\(count.isBatch ? "n" : "\(count)")",
      algorithm: "a row for each index, threads split indices"
    ) { name in
      try Templates.gatherRows.render([
        "banner":
          "Rows of \(count) elements, each of \(extent), by \(choice); the nearest where an "
          + "index is outside.",
        "name": name, "element": element.type, "index": choice.dtype.storage.cType,
        "constants": constants, "batch": batch.declaration, "outer": outer,
        "position": position,
      ])
    }
    let source = "(const \(element.type) *)(const void *)\(try address(input))"
    let index = "(const \(choice.dtype.storage.cType) *)(const void *)\(try address(indices))"
    let result = "(\(element.type) *)(void *)\(try address(output))"
    emit(
      kernel, [source, index, result] + batch.arguments, units: WorkUnits(1, times: units))
  }

  /// Scatter-add of rows by index. A unit of work owns a range of columns of all rows and visits all indices,
  /// so threads share no sum.
  mutating func lower(_ operation: GatherGradient, _ node: Node) throws {
    let (gradient, indices) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    try requireFloat([gradient, output])
    let (shape, choice) = (type(output).shape, type(indices))
    guard choice.dtype == .int32 || choice.dtype == .int64,
      let count = TensorShape(Array(shape.dimensions[(operation.axis + 1)...])).elementCount?
        .constant, count > 0,
      let before = TensorShape(Array(shape.dimensions[..<operation.axis])).elementCount,
      let positions = choice.shape.elementCount
    else {
      throw GraftError(.unsupported, "sums of rows of \(type(gradient)) by \(choice)")
    }
    // Whole cache lines, for up to eight threads.
    let piece = max(16, ((count + 7) / 8 + 15) / 16 * 16)
    let kernel = try library.add(
      "gather_gradient_f32_\(choice.dtype.rawValue)_\(operation.extent)x\(count)",
      algorithm: "one index after the other, threads split columns in pieces of \(piece)"
    ) { name in
      try Templates.gatherGradient.render([
        "banner":
          "Sums of rows of \(count) elements into \(operation.extent), by \(choice); the nearest where an "
          + "index is outside.",
        "name": name, "index": choice.dtype.storage.cType, "extent": "\(operation.extent)",
        "count": "\(count)", "piece": "\(piece)",
      ])
    }
    let index = "(const \(choice.dtype.storage.cType) *)(const void *)\(try address(indices))"
    try emit(
      kernel, [address(gradient), index, address(output), positions.expression],
      units: WorkUnits((count + piece - 1) / piece, times: before))
  }
}

extension Templates {
  static let gatherRows = Template("gather_rows.c", PackageResources.gather_rows_c_in)
  static let gatherGradient = Template("gather_gradient.c", PackageResources.gather_gradient_c_in)
}
