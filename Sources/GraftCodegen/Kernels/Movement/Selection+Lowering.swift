// Parts of values put together and taken apart: joins, splits, slices, gathers, transposes, repeats and
// padding. Blocked images are joined and split by channel; everything else is a strided copy.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(_ operation: Concatenate, _ node: Node) throws {
    let output = try result(of: node)
    let operands = node.presentOperands
    if type(output).layout.isBlocked {
      guard operation.axis == 1 else {
        throw GraftError(
          .inconsistency, "a blocked image can be concatenated only along its channels")
      }
      var map: [(source: Int, channel: Int)] = []
      for (index, operand) in operands.enumerated() {
        let channels = try ImageGeometry(type(operand)).channels
        map += (0..<channels).map { (index, $0) }
      }
      return try gatherChannels(operands, to: output, map: map)
    }
    let strides = try type(output).shape.plainStrides()
    var start = 0
    for operand in operands {
      let shape = type(operand).shape
      guard let extent = shape[operation.axis].constant else {
        throw GraftError(.unsupported, "a concatenation along an axis that grows with the batch")
      }
      if extent > 0 {
        try copyPlain(
          loop: StridedLoop(
            extents: shape.dimensions, strides: [try shape.plainStrides(), strides]),
          from: address(operand), to: address(output),
          yOffset: [try strides[operation.axis].times(Dimension(start))],
          dtype: type(output).dtype)
      }
      start += extent
    }
  }

  mutating func lower(_ operation: Split, _ node: Node) throws {
    let input = try operand(0, of: node)
    let strides = try type(input).layout.isBlocked ? [] : type(input).shape.plainStrides()
    var start = 0
    for (output, size) in zip(node.results, operation.sizes) {
      if type(output).layout.isBlocked {
        guard operation.axis == 1 else {
          throw GraftError(.inconsistency, "a blocked image can be split only along its channels")
        }
        let first = start
        try gatherChannels([input], to: output, map: (0..<size).map { (0, first + $0) })
      } else if size > 0 {
        let shape = type(output).shape
        try copyPlain(
          loop: StridedLoop(
            extents: shape.dimensions, strides: [strides, try shape.plainStrides()]),
          from: address(input), to: address(output),
          xOffset: [try strides[operation.axis].times(Dimension(start))],
          dtype: type(output).dtype)
      }
      start += size
    }
  }

  mutating func lower(_ operation: Slice, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    if type(output).layout.isBlocked {
      guard operation.axes == [1] else {
        throw GraftError(.inconsistency, "a blocked image can be sliced only along its channels")
      }
      return try gatherChannels(
        [input], to: output,
        map: (0..<operation.extents[0]).map { (0, operation.starts[0] + $0 * operation.steps[0]) })
    }
    var strides = try type(input).shape.plainStrides()
    var start: [Dimension] = []
    for (index, axis) in operation.axes.enumerated() {
      start.append(try strides[axis].times(Dimension(operation.starts[index])))
      strides[axis] = try strides[axis].times(Dimension(operation.steps[index]))
    }
    let shape = type(output).shape
    try copyPlain(
      loop: StridedLoop(extents: shape.dimensions, strides: [strides, try shape.plainStrides()]),
      from: address(input), to: address(output), xOffset: start, dtype: type(output).dtype)
  }

  mutating func lower(_ operation: Transpose, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    guard type(input).layout.isPlain, type(output).layout.isPlain else {
      return try moveChannels(input, to: output)
    }
    let strides = try type(input).shape.plainStrides()
    let shape = type(output).shape
    try copyPlain(
      loop: StridedLoop(
        extents: shape.dimensions,
        strides: [operation.permutation.map { strides[$0] }, try shape.plainStrides()]),
      from: address(input), to: address(output), dtype: type(output).dtype)
  }

  mutating func lowerExpand(_ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    let shape = type(output).shape
    try copyPlain(
      loop: StridedLoop(
        extents: shape.dimensions,
        strides: [try type(input).shape.broadcastStrides(to: shape), try shape.plainStrides()]),
      from: address(input), to: address(output), dtype: type(output).dtype)
  }

  mutating func lower(_ operation: Pad, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    if type(output).layout.isBlocked { return try padBlocked(input, to: output, operation) }
    guard operation.mode == .constant else { return try padPlain(input, to: output, operation) }
    let (xShape, yShape) = (type(input).shape, type(output).shape)
    let (xStrides, yStrides) = (try xShape.plainStrides(), try yShape.plainStrides())
    try fill(output, with: operation.value)
    // What of x stays: negative pads take elements away.
    var extents = xShape.dimensions
    var (xStart, yStart): ([Dimension], [Dimension]) = ([], [])
    for axis in extents.indices {
      let (before, after) = (operation.pads[axis], operation.pads[axis + extents.count])
      if before == 0 && after == 0 { continue }
      guard let extent = extents[axis].constant else {
        throw GraftError(.unsupported, "padding along the batch")
      }
      let kept = extent + min(0, before) + min(0, after)
      guard kept > 0 else { return }
      extents[axis] = Dimension(kept)
      xStart.append(try xStrides[axis].times(Dimension(max(0, -before))))
      yStart.append(try yStrides[axis].times(Dimension(max(0, before))))
    }
    try copyPlain(
      loop: StridedLoop(extents: extents, strides: [xStrides, yStrides]), from: address(input),
      to: address(output), xOffset: xStart, yOffset: yStart, dtype: type(output).dtype)
  }

  /// The C expression of the index that element `index` of a padded axis is taken from.
  private func source(_ mode: Pad.Mode, of index: String, pad: Int, extent: Int) -> String {
    let shifted = pad == 0 ? index : "\(index) - \(pad)"
    switch mode {
    case .constant: return shifted
    case .edge: return "nearest(\(shifted), \(extent))"
    case .reflect: return "mirrored(\(shifted), \(extent))"
    case .wrap: return "wrapped(\(shifted), \(extent))"
    }
  }

  /// Plain values by reflection or by their edges: every element is taken from some element.
  private mutating func padPlain(
    _ input: ValueID, to output: ValueID, _ operation: Pad
  ) throws {
    let (x, y) = (type(input).shape, type(output).shape)
    let strides = try x.plainStrides()
    var terms: [String] = []
    var column = "column"
    var inner = Dimension(1)
    for axis in y.dimensions.indices.reversed() {
      let isPadded = operation.pads[axis] != 0 || operation.pads[axis + y.rank] != 0
      func source(of index: String) throws -> String {
        guard isPadded || (axis == y.rank - 1 && !x[axis].isBatch) else { return index }
        guard let extent = x[axis].constant else {
          throw GraftError(.unsupported, "padding of \(x) along the batch")
        }
        return self.source(operation.mode, of: index, pad: operation.pads[axis], extent: extent)
      }
      if axis == y.rank - 1 {
        column = try source(of: column)
        continue
      }
      var index = inner == 1 ? "(ptrdiff)unit" : "(ptrdiff)unit / \(inner.factor)"
      if axis > 0 { index = "\(index) % \(y[axis].factor)" }
      inner = try inner.times(y[axis])
      terms.append("(\(try source(of: index))) * \(strides[axis].step)")
    }
    let count = y.dimensions.last ?? 1
    let constants =
      count.isBatch
      ? "const ptrdiff COUNT = (ptrdiff)(\(count.count));" : "enum { COUNT = \(count) };"
    let offset = terms.isEmpty ? "0" : terms.reversed().joined(separator: " + ")
    let batch = BatchParameter(readBy: [offset, constants])
    let element = type(output).dtype.movedType
    let kernel = try library.add(
      "pad_\(element.name)_\(operation.mode.rawValue)_\(y.dimensions.map(\.description).joined(separator: "x"))",
      algorithm: "row by row, threads split rows"
    ) { name in
      try Templates.padPlain.render([
        "banner": "Pads \(x) to \(y), \(operation.mode.rawValue).", "name": name,
        "element": element.type,
        "constants": constants, "batch": batch.declaration, "x_offset": offset,
        "column_source": column,
      ])
    }
    let source = "(const \(element.type) *)(const void *)\(try address(input))"
    let destination = "(\(element.type) *)(void *)\(try address(output))"
    emit(
      kernel, [source, destination] + batch.arguments, units: WorkUnits(1, times: inner))
  }

  /// A constant whose shape has the batch in it, which nothing could fold.
  mutating func lower(_ operation: ConstantOfShape, _ node: Node) throws {
    try fill(try result(of: node), with: operation.value)
  }

  private mutating func fill(_ output: ValueID, with value: ScalarConstant) throws {
    guard let count = type(output).shape.elementCount else {
      throw GraftError(.inconsistency, "\(type(output)) has too many elements")
    }
    let piece = 4096
    let dtype = type(output).dtype
    let kernel = try library.add(
      "fill_\(dtype.rawValue)_\(count.coefficient)",
      algorithm: "one run, threads split pieces of \(piece)"
    ) { name in
      try Templates.fill.render([
        "banner": "Sets \(count.coefficient) elements to \(value.real).", "name": name,
        "element": dtype.storage.cType, "count": "\(count.coefficient)", "piece": "\(piece)",
        "fill_value": try CText.element(value, dtype),
      ])
    }
    let units = (count.coefficient + piece - 1) / piece
    emit(
      kernel, ["(\(dtype.storage.cType) *)(void *)\(try address(output))"],
      units: count.isBatch ? WorkUnits(perBatch: units) : WorkUnits(fixed: units))
  }

  private mutating func padBlocked(
    _ input: ValueID, to output: ValueID, _ operation: Pad
  ) throws {
    let pads = operation.pads
    let x = try ImageGeometry(type(input))
    let y = try ImageGeometry(type(output))
    try requireSameBlock(x, y)
    guard pads.count == 8, pads[0] == 0, pads[1] == 0, pads[4] == 0, pads[5] == 0 else {
      throw GraftError(.inconsistency, "a blocked image can be padded only in height and width")
    }
    let kernel = try library.add(
      "pad_f32_\(operation.mode.rawValue)_\(x.channels)_\(x.height)x\(x.width)"
        + "_to_\(y.height)x\(y.width)",
      algorithm: "row by row, threads split rows"
    ) { name in
      try Templates.padBlocked.render(
        imageValues(x, y).merging([
          "banner": "Pads [\(x.channels), \(x.height), \(x.width)] to "
            + "[\(y.channels), \(y.height), \(y.width)], \(operation.mode.rawValue).",
          "name": name,
          "row_source": source(
            operation.mode, of: "(ptrdiff)row", pad: pads[2], extent: x.height),
          "column_source": source(
            operation.mode, of: "(ptrdiff)column", pad: pads[3], extent: x.width),
          "fill_value": CText.float(operation.value.real),
        ]) { $1 })
    }
    try emit(
      kernel, [address(input), address(output)],
      units: WorkUnits(y.blocks * y.height, times: y.images))
  }
}

extension Templates {
  static let fill = Template("fill.c", PackageResources.fill_c_in)
  static let padPlain = Template("pad_plain.c", PackageResources.pad_plain_c_in)
  static let padBlocked = Template("pad_blocked.c", PackageResources.pad_blocked_c_in)
}
