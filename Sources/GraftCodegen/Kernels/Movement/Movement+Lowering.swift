// What only moves elements: layouts, views, channels, slices, transposes, joins.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(_ operation: ConvertLayout, _ node: Node) throws {
    try convertLayout(try operand(0, of: node), to: try result(of: node))
  }

  private mutating func convertLayout(_ input: ValueID, to output: ValueID) throws {
    if type(input).layout == type(output).layout {
      return try copyPlain(
        loop: try StridedLoop(extents: [storedCount(output)], strides: [[1], [1]]),
        from: address(input), to: address(output), dtype: type(output).dtype)
    }
    let (x, y) = (try ImageGeometry(type(input)), try ImageGeometry(type(output)))
    try convert(
      input, x, to: output, y, Templates.convertLayout, from: x.form, to: y.form,
      rows: y.blocks * y.height)
  }

  /// Channels in blocks or planes to channels in the last place, or the reverse, where the other value is plain.
  mutating func moveChannels(_ input: ValueID, to output: ValueID) throws {
    let isLast = type(output).layout.isPlain
    let image = try ImageGeometry(type(isLast ? input : output))
    try convert(
      input, image, to: output, image, isLast ? Templates.blocksToRows : Templates.rowsToBlocks,
      from: isLast ? image.form : "nhwc", to: isLast ? "nhwc" : image.form,
      rows: isLast ? image.height : image.blocks * image.height)
  }

  /// - Parameters:
  ///   - from: the names of the two orders, for the kernel's own.
  ///   - rows: the units of work in an image.
  private mutating func convert(
    _ input: ValueID, _ x: ImageGeometry, to output: ValueID, _ y: ImageGeometry,
    _ template: Template, from: String, to: String, rows: Int
  ) throws {
    let isOfBytes = type(input).dtype == .uint8
    if !isOfBytes { try requireFloat([input, output]) }
    let kernel = try library.add(
      "convert_\(isOfBytes ? "u8" : "f32")_\(from)_to_\(to)_\(x.channels)_\(x.height)x\(x.width)",
      algorithm: "row by row, threads split rows"
    ) { name in
      try template.render(
        imageValues(x, y).merging(isOfBytes ? Self.byteScalars : [:]) { $1 }.merging([
          "banner": "[\(x.channels), \(x.height), \(x.width)] from layout \(from) to \(to).",
          "name": name,
        ]) { $1 })
    }
    let source = isOfBytes ? try bytes(input) : try address(input)
    let destination = isOfBytes ? try bytes(output, isConst: false) : try address(output)
    emit(kernel, [source, destination], units: WorkUnits(rows, times: y.images))
  }

  private func storedCount(_ value: ValueID) throws -> Dimension {
    guard let count = type(value).storedShape.elementCount else {
      throw GraftError(.inconsistency, "\(type(value)) has too many elements")
    }
    return count
  }

  /// A view: no code if result and operand share memory.
  mutating func lowerView(_ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    guard type(input).layout == type(output).layout, type(input).layout.isPlain else {
      return try lowerBlockedView(node, input, output)
    }
    let source = try address(input)
    guard try source != address(output) else { return }
    try copyPlain(
      loop: try StridedLoop(extents: [storedCount(output)], strides: [[1], [1]]),
      from: source, to: address(output), dtype: type(output).dtype)
  }

  /// A view between layouts is free where the bytes are the same in both: [N, C, 1, 1] in whole
  /// blocks without a border is [N, C] in plain order.
  private mutating func lowerBlockedView(_ node: Node, _ input: ValueID, _ output: ValueID) throws {
    if type(input).shape == type(output).shape {
      return try convertLayout(input, to: output)
    }
    func isDense(_ value: ValueID) -> Bool {
      guard !type(value).layout.isPlain else { return true }
      guard let image = try? ImageGeometry(type(value)) else { return false }
      return image.height == 1 && image.width == 1 && !image.hasBorder
        && image.channels.isMultiple(of: image.block)
    }
    guard isDense(input), isDense(output) else {
      throw GraftError(
        .inconsistency, "\(type(input)) cannot be seen as \(type(output)) without moving elements")
    }
    guard try address(input) != address(output) else { return }
    try copyPlain(
      loop: try StridedLoop(extents: [storedCount(output)], strides: [[1], [1]]),
      from: address(input), to: address(output), dtype: type(output).dtype)
  }

  /// A copy to the caller's buffer for an output that no node writes directly.
  mutating func copyOutput(_ value: ValueID, to output: Place) throws {
    guard type(value).layout.isPlain else {
      throw GraftError(
        .inconsistency, "an output is in layout \(type(value).layout), expected plain")
    }
    try copyPlain(
      loop: try StridedLoop(extents: [storedCount(value)], strides: [[1], [1]]),
      from: address(value), to: output.expression, dtype: type(value).dtype)
  }

  /// Copies along `loop`, whose operand 0 is the source and 1 the destination.
  /// - Parameters:
  ///   - xOffset: elements before the first of the source, as a sum.
  ///   - yOffset: elements before the first of the destination, likewise.
  mutating func copyPlain(
    loop: StridedLoop, from: String, to: String, xOffset: [Dimension] = [],
    yOffset: [Dimension] = [],
    dtype: DataType
  ) throws {
    let loop = loop.split(longest: 4096)
    let element = dtype.movedType
    let extents = loop.extents.map { $0.isBatch ? "n" : "\($0.coefficient)" }.joined(separator: "x")
    let offset = { (text: String, start: [Dimension]) in
      let (constant, batch) = (start.filter { !$0.isBatch }, start.filter(\.isBatch))
      let sums = [
        Dimension.batch(times: batch.reduce(0) { $0 + $1.coefficient }),
        Dimension(constant.reduce(0) { $0 + $1.coefficient }),
      ]
      return sums.reduce(text) { $1 == 0 ? $0 : "\($0) + \($1.step)" }
    }
    let (xOffset, yOffset) = (offset(loop.offset(0), xOffset), offset(loop.offset(1), yOffset))
    let (count, xStep, yStep) = (loop.innerExtent, loop.innerStride(0), loop.innerStride(1))
    let isConstant = !count.isBatch && !xStep.isBatch && !yStep.isBatch
    let constants =
      isConstant
      ? "enum { COUNT = \(count), X_STEP = \(xStep), Y_STEP = \(yStep) };"
      : "const size_t COUNT = \(count.count);\n"
        + "const ptrdiff X_STEP = \(xStep.step), Y_STEP = \(yStep.step);"
    let batch = BatchParameter(readBy: [xOffset, yOffset, constants])
    let kernel = try library.add(
      "copy_\(element.name)_\(extents.isEmpty ? "1" : extents)",
      algorithm: "runs of \(loop.innerExtent) elements, threads split runs"
    ) { name in
      try Templates.copyRows.render([
        "banner": "Copies elements: extents \(extents), strides \(loop.strides).", "name": name,
        "element": element.type, "constants": constants, "batch": batch.declaration,
        "x_offset": xOffset, "y_offset": yOffset,
      ])
    }
    let pointer = element.type == "float" ? "" : "(\(element.type) *)(void *)"
    let constPointer = element.type == "float" ? "" : "(const \(element.type) *)(const void *)"
    emit(
      kernel, [constPointer + from, pointer + to] + batch.arguments, units: loop.rows)
  }

  mutating func lower(_ operation: ChannelShuffle, _ node: Node) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    let groups = operation.groups
    guard type(output).layout.isBlocked else {
      // [groups, channels / groups] transposed, each entry a whole plane.
      let shape = type(output).shape
      guard let channels = shape.dimensions.dropFirst().first?.constant,
        let inner = TensorShape(Array(shape.dimensions.dropFirst(2))).elementCount?.constant
      else { throw GraftError(.unsupported, "a shuffle of \(shape)") }
      let each = channels / groups
      return try copyPlain(
        loop: StridedLoop(
          extents: [shape[0], Dimension(each), Dimension(groups), Dimension(inner)],
          strides: [
            [channels * inner, inner, each * inner, 1],
            [channels * inner, groups * inner, inner, 1],
          ].map { $0.map { Dimension($0) } }), from: address(input), to: address(output),
        dtype: type(output).dtype)
    }
    let y = try ImageGeometry(type(output))
    let each = y.channels / groups
    try gatherChannels(
      [input], to: output,
      map: (0..<y.channels).map { (source: 0, channel: $0 % groups * each + $0 / groups) })
  }

  /// An image whose rows come from those of another in the same blocks of channels.
  /// - Parameter values: what the template asks for beyond ``imageValues(_:_:)``, of operand and result.
  mutating func moveRows(
    _ node: Node, name: String, _ template: Template,
    values: (_ x: ImageGeometry, _ y: ImageGeometry) -> [String: String]
  ) throws {
    let (input, output) = (try operand(0, of: node), try result(of: node))
    try requireFloat([input, output])
    let x = try ImageGeometry(type(input))
    let y = try ImageGeometry(type(output))
    try requireSameBlock(x, y)
    let kernel = try library.add(
      "\(name)_f32_\(x.channels)_\(x.height)x\(x.width)_to_\(y.height)x\(y.width)",
      algorithm: "row by row, threads split rows"
    ) { name in
      try template.render(
        imageValues(x, y).merging(values(x, y)) { $1 }.merging(["name": name]) { $1 })
    }
    try emit(
      kernel, [address(input), address(output)],
      units: WorkUnits(y.blocks * y.height, times: y.images))
  }

  /// Builds a blocked image from channels of others. `map` gives each channel's source and its
  /// channel there.
  mutating func gatherChannels(
    _ inputs: [ValueID], to output: ValueID, map: [(source: Int, channel: Int)]
  ) throws {
    let isOfBytes = type(output).dtype == .uint8
    if !isOfBytes { try requireFloat(inputs + [output]) }
    let scalar = isOfBytes ? "byte" : "float"
    let y = try ImageGeometry(type(output))
    let sources = try inputs.map { try ImageGeometry(type($0)) }
    guard
      sources.allSatisfy({ $0.block == y.block && $0.height == y.height && $0.width == y.width })
    else {
      throw GraftError(.inconsistency, "channels are gathered from images with different layouts")
    }
    let names = inputs.indices.map { "x\($0)" }
    let kernel = try library.add(
      "gather_channels_\(isOfBytes ? "u8" : "f32")_\(inputs.count)_\(y.channels)_\(y.height)x\(y.width)",
      algorithm: "channels by a constant map, threads split rows"
    ) { name in
      try Templates.gatherChannels.render(
        imageValues(sources.first ?? y, y).merging([
          "banner": "[\(y.channels), \(y.height), \(y.width)] from channels of "
            + "\(inputs.count) image\(inputs.count == 1 ? "" : "s").",
          "name": name, "blocks": "\(y.blocks)",
          "parameters": names.map { "const \(scalar) *restrict \($0)," }
            .joined(separator: "\n"),
          "scalar": scalar, "fill_border": isOfBytes ? "fill_border" : "fill_float_border",
          "load": isOfBytes ? "load_bytes" : "load", "store": isOfBytes ? "store_bytes" : "store",
          "vector": isOfBytes ? "vb" : "vf",
          "sources": names.joined(separator: ", "),
          "shapes": sources.map { "{\($0.image), \($0.plane), \($0.row), \($0.origin)}," }
            .joined(separator: "\n"),
          "source_of": CText.table(map.map(\.source)),
          "channel_of": CText.table(map.map(\.channel)),
        ]) { $1 })
    }
    let addresses = try inputs.map { isOfBytes ? try bytes($0) : try address($0) }
    emit(
      kernel,
      addresses + [isOfBytes ? try bytes(output, isConst: false) : try address(output)],
      units: WorkUnits(y.blocks * y.height, times: y.images))
  }

  /// The values of image templates that only move bytes.
  static let byteScalars = [
    "x_scalar": "byte", "y_scalar": "byte", "fill_border": "fill_border",
  ]
}

extension ImageGeometry {
  /// The layout as part of a kernel's name.
  fileprivate var form: String {
    (block == 1 ? "plain" : "c\(block)")
      + (hasBorder ? "b\(borderHeight)x\(borderWidth)" : "")
  }
}

extension DataType {
  /// The C type that moves an element, the same for all types of a size but float32, and its part of a
  /// kernel's name.
  var movedType: (type: String, name: String) {
    let moved: DataType =
      switch byteCount {
      case 4: self == .float32 ? .float32 : .int32
      case 8: .int64
      case 2: .int16
      default: .int8
      }
    return (moved.storage.cType, moved.rawValue)
  }
}

extension Templates {
  static let copyRows = Template("copy_rows.c", PackageResources.copy_rows_c_in)
  static let convertLayout = Template("convert_layout.c", PackageResources.convert_layout_c_in)
  static let rowsToBlocks = Template("rows_to_blocks.c", PackageResources.rows_to_blocks_c_in)
  static let blocksToRows = Template("blocks_to_rows.c", PackageResources.blocks_to_rows_c_in)
  static let gatherChannels = Template("gather_channels.c", PackageResources.gather_channels_c_in)
}
