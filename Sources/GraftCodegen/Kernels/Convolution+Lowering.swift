// Convolutions: the direct kernel, grouped or not, over blocked or planar inputs, and the depthwise one.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  /// x, w, bias?, residual? → y. The input's border must hold the pads; y and the residual are blocked.
  mutating func lower(_ operation: Convolution, _ node: Node) throws {
    let (input, weight) = (try operand(0, of: node), try operand(1, of: node))
    let (bias, residual) = (node.operand(2), node.operand(3))
    let output = try result(of: node)
    try requireFloat([input, weight, output])
    let x = try ImageGeometry(type(input))
    let y = try ImageGeometry(type(output))
    let window = try operation.window(type(weight))
    let shape = ConvolutionShape(
      channels: x.channels, height: x.height, width: x.width, outputs: y.channels,
      resultHeight: y.height, resultWidth: y.width, window: window, groups: operation.groups)
    try checkLayouts(x: x, y: y, window: window)
    let addend = try residual.map { try residualGeometry(type($0), like: y) }
    let schedule = ConvolutionSchedule.choose(shape, isPlanar: x.block == 1, target: target)
    let parts = ConvolutionParts(
      shape: shape, x: x, y: y, residual: addend, activation: operation.activation,
      lanes: target.lanes)
    let kernel = try library.add(
      parts.name(schedule), algorithm: parts.algorithm(schedule),
      render: { try parts.render(schedule, name: $0) })
    let source = try data(of: weight)
    let lanes = target.lanes
    let packed: Int
    switch schedule {
    case .direct(let direct):
      packed = weights.add(
        [weight], form: "direct \(direct)",
        floatCount: direct.inputBlocks * direct.outputBlocks
          * direct.blockWeights(kernel: window.kernel, lanes: lanes)
      ) {
        WeightPacking.direct(
          source.floats(), into: $0, shape: shape, schedule: direct, lanes: lanes)
      }
    case .depthwise(let depthwise):
      let taps = window.kernel[0] * window.kernel[1]
      packed = weights.add(
        [weight], form: "depthwise \(lanes)", floatCount: depthwise.blocks * taps * lanes
      ) {
        WeightPacking.depthwise(
          source.floats(), into: $0, channels: shape.channels, taps: taps, lanes: lanes)
      }
    }
    let biasAddress = try channelVector(
      bias, count: shape.outputs, padded: y.blocks * lanes)
    var arguments = [
      try address(input), Place.weights(packed).expression, biasAddress,
    ]
    if let residual { arguments.append(try address(residual)) }
    arguments.append(try address(output))
    emit(
      kernel, arguments, units: WorkUnits(parts.unitsPerImage(schedule), times: y.images))
  }

  private func checkLayouts(x: ImageGeometry, y: ImageGeometry, window: Window) throws {
    guard y.block == target.lanes, x.block == target.lanes || x.block == 1 else {
      throw GraftError(
        .inconsistency,
        "the kernel reads blocks of 1 or \(target.lanes) channels and writes \(target.lanes), "
          + "found \(x.block) and \(y.block)")
    }
    guard x.borderHeight >= max(window.pads[0], window.pads[2]),
      x.borderWidth >= max(window.pads[1], window.pads[3])
    else {
      throw GraftError(
        .inconsistency,
        "a border of \(x.borderHeight)x\(x.borderWidth) does not hold pads \(window.pads)")
    }
  }

  /// The geometry of a residual, which must be blocked like the result.
  func residualGeometry(_ type: TensorType, like y: ImageGeometry) throws -> ImageGeometry {
    let geometry = try ImageGeometry(type)
    guard geometry.block == y.block else {
      throw GraftError(
        .inconsistency, "the residual \(type) has another channel block than the result")
    }
    return geometry
  }
}

/// Everything that makes a convolution kernel: its name, its banner, its text.
struct ConvolutionParts {
  let shape: ConvolutionShape
  let x: ImageGeometry
  let y: ImageGeometry
  let residual: ImageGeometry?
  let activation: Activation
  let lanes: Int

  func unitsPerImage(_ schedule: ConvolutionSchedule) -> Int {
    switch schedule {
    case .direct(let direct): direct.unitsPerImage
    case .depthwise(let depthwise): depthwise.unitsPerImage
    }
  }

  func name(_ schedule: ConvolutionSchedule) -> String {
    let kernel = "\(shape.window.kernel[0])x\(shape.window.kernel[1])"
    let strides = shape.window.strides
    let step = strides == [1, 1] ? "" : "_s" + strides.map(String.init).joined(separator: "x")
    let size = "_\(shape.height)x\(shape.width)"
    let suffix = (residual == nil ? "" : "_residual") + activation.nameSuffix
    switch schedule {
    case .direct(let direct):
      let groups = shape.groups > 1 ? "_g\(shape.groups)" : ""
      let form = direct.inputBlock == 1 ? "_planar" : ""
      return "conv_f32_\(kernel)\(step)\(groups)\(form)_\(shape.channels)to\(shape.outputs)\(size)"
        + "_\(direct.tileBlocks)x\(direct.tilePixelsMost)\(suffix)"
    case .depthwise:
      return "depthwise_f32_\(kernel)\(step)_\(shape.channels)\(size)\(suffix)"
    }
  }

  func algorithm(_ schedule: ConvolutionSchedule) -> String {
    switch schedule {
    case .direct(let direct):
      "direct, tile of \(direct.tileBlocks * lanes) outputs x \(direct.tilePixelsMost) pixels, "
        + "\(direct.chunk) of \(direct.inputBlocks) input blocks at a time, threads split "
        + (direct.splitsTiles
          ? "\(direct.tiles) tiles of pixels" : "\(direct.groups) output groups")
    case .depthwise(let depthwise):
      "depthwise, tile of \(lanes) channels x \(depthwise.tilePixelsMost) pixels, "
        + "threads split \(depthwise.blocks) blocks in \(depthwise.bands) bands"
    }
  }

  private func banner(_ schedule: ConvolutionSchedule) -> String {
    let window = shape.window
    let text = """
      Convolution [\(shape.channels), \(shape.height), \(shape.width)] -> \
      [\(shape.outputs), \(shape.resultHeight), \(shape.resultWidth)], kernel \(window.kernel), \
      strides \(window.strides), pads \(window.pads), dilations \(window.dilations), \
      groups \(shape.groups)\(residual == nil ? "" : ", adds a residual"), activation \
      \(activation), float32 throughout.
      """
    return CText.wrapped(text) + "\n * " + CText.wrapped(algorithm(schedule)) + "."
  }

  func render(_ schedule: ConvolutionSchedule, name: String) throws -> String {
    switch schedule {
    case .direct(let direct):
      return try Templates.convolutionDirect.render(
        common(schedule, name: name).merging(directValues(direct)) { $1 })
    case .depthwise(let depthwise):
      return try Templates.convolutionDepthwise.render(
        common(schedule, name: name).merging(depthwiseValues(depthwise)) { $1 })
    }
  }

  /// What both templates ask for.
  private func common(_ schedule: ConvolutionSchedule, name: String) -> [String: String] {
    let window = shape.window
    let block = x.block
    let originRow = (x.borderHeight - window.pads[0]) * x.row
    let originColumn = (x.borderWidth - window.pads[1]) * block
    return [
      "banner": banner(schedule), "name": name,
      "height": "\(y.height)", "width": "\(y.width)", "output_blocks": "\(y.blocks)",
      "kernel_height": "\(window.kernel[0])", "kernel_width": "\(window.kernel[1])",
      "x_image": "\(x.image)", "x_plane": "\(x.plane)",
      "x_origin": "\(originRow + originColumn)",
      "x_row_step": "\(window.strides[0] * x.row)",
      "x_column_step": "\(window.strides[1] * block)",
      "x_kernel_row": "\(window.dilations[0] * x.row)",
      "x_kernel_column": "\(window.dilations[1] * block)",
      "y_plane": "\(y.plane)", "y_row": "\(y.row)", "y_origin": "\(y.origin)",
      "y_border_height": "\(y.borderHeight)", "y_border_width": "\(y.borderWidth)",
      "activation": activation.expression("value"),
      "residual_parameter": residual == nil ? "" : "const float *residual,",
    ]
  }

  private func directValues(_ schedule: DirectSchedule) -> [String: String] {
    // A kernel row without gaps is read as one run of floats.
    let isContiguous = shape.window.dilations[1] == 1 || shape.window.kernel[1] == 1
    let kernelWidth = shape.window.kernel[1]
    var values = [
      "tile_blocks": "\(schedule.tileBlocks)", "groups": "\(schedule.groups)",
      "full_groups": "\(schedule.fullGroups)", "last_group_blocks": "\(schedule.lastGroupBlocks)",
      "tiles": "\(schedule.tiles)", "wide_tiles": "\(schedule.wideTiles)",
      "tile_pixels": "\(schedule.tilePixels)", "tile_pixels_most": "\(schedule.tilePixelsMost)",
      "split_tiles": schedule.splitsTiles ? "1" : "0",
      "input_blocks": "\(schedule.inputBlocks)", "chunk": "\(schedule.chunk)",
      "tiles_a_block": "\(schedule.tilesPerBlock)", "lines_ahead": "\(schedule.linesAhead)",
      "input_lines_ahead": "\(schedule.inputLinesAhead)",
      "block_weights": "\(schedule.blockWeights(kernel: shape.window.kernel, lanes: lanes))",
      "column_steps": isContiguous ? "1" : "\(kernelWidth)",
      "depth": "\(isContiguous ? kernelWidth * schedule.inputBlock : schedule.inputBlock)",
      "first_block_table": "", "group_origin": "", "added_parameter": "",
      "add_residual": "", "residual_argument": "", "residual_plane": "",
    ]
    if let first = schedule.firstBlocks {
      values["first_block_table"] =
        "static const unsigned short first_block[GROUPS] = {\n    \(CText.table(first))};"
      values["group_origin"] = " + (size_t)first_block[group] * X_PLANE"
    }
    if let residual {
      values["residual_argument"] = "added, "
      values["added_parameter"] = "const float *added,"
      values["add_residual"] =
        "sum[o][p] += load(added + (size_t)o * \(residual.plane) + row * \(residual.row) "
        + "+ column * LANES);"
      values["residual_plane"] =
        "const float *added = residual + (n * OUTPUT_BLOCKS + plane) * \(residual.plane) "
        + "+ \(residual.origin);"
    }
    return values
  }

  private func depthwiseValues(_ schedule: DepthwiseSchedule) -> [String: String] {
    let taps = shape.window.kernel[0] * shape.window.kernel[1]
    var values = [
      "tiles": "\(schedule.tiles)", "wide_tiles": "\(schedule.wideTiles)",
      "tile_pixels": "\(schedule.tilePixels)", "tile_pixels_most": "\(schedule.tilePixelsMost)",
      "bands": "\(schedule.bands)", "kernel_size": "\(taps)",
      "kernel_unroll": taps <= 25 ? "UNROLL" : "NO_UNROLL",
      "add_residual": "", "residual_argument": "", "residual_plane": "", "residual_tile": "",
    ]
    if let residual {
      values["residual_argument"] = "added, "
      values["add_residual"] = "sum[p] += load(residual + p * LANES);"
      values["residual_plane"] =
        "const float *addend = residual + plane * \(residual.plane) + \(residual.origin);"
      values["residual_tile"] =
        "const float *added = addend + row * \(residual.row) + column * LANES;"
    }
    return values
  }
}
