// Convolutions: the direct kernel, grouped or not, over blocked or planar inputs; Winograd's; the depthwise
// one; and the one from plain images to plain images.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  /// x, w, bias?, residual? → y. Where y is blocked the input's border must hold the pads; the residual
  /// lies as y does.
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
    let site = ConvolutionSite(shape, isPlanar: x.block == 1, images: y.images)
    let schedule = ConvolutionSchedule.choose(
      shape, isPlanar: x.block == 1, isPlain: y.block == 1, images: y.images,
      typicalBatch: typicalBatch, preferred: convolutions.variant(at: site), target: target)
    sites[site] = SiteShape(
      shape: shape, isPlanar: x.block == 1, isPlain: y.block == 1, images: y.images)
    convolutionCost.add(
      schedule, shape, images: y.images, typicalBatch: typicalBatch, target: target)
    let parts = ConvolutionParts(
      shape: shape, x: x, y: y, residual: addend, activation: operation.activation,
      lanes: target.lanes)
    let kernel = try library.add(
      parts.name(schedule), algorithm: parts.algorithm(schedule),
      render: { try parts.render(schedule, name: $0) })
    let lanes = target.lanes
    let packed = try packConvolution(weight, shape, schedule)
    // Whole vectors, and for plain images whole sets.
    let biasAddress = try channelVector(
      bias, count: shape.outputs, padded: y.block == 1 ? shape.outputs + 3 : y.blocks * lanes)
    var arguments = [
      try address(input), packed, biasAddress,
    ]
    if let residual { arguments.append(try address(residual)) }
    arguments.append(try address(output))
    var workShape = WorkShape()
    if case .winograd(let winograd) = schedule {
      workShape = winograd.workShape(shape)
      arguments += [
        y.images.expression, scratch(floats: winograd.scratchFloats(lanes: lanes)),
      ]
    }
    emit(
      kernel, arguments, units: schedule.units(images: y.images), shape: workShape, site: site)
  }

  func checkLayouts(x: ImageGeometry, y: ImageGeometry, window: Window) throws {
    if x.block == 1 && y.block == 1 && !y.hasBorder { return }
    guard y.block == target.lanes, x.block == target.lanes || x.block == 1 else {
      throw GraftError(
        .inconsistency,
        "no kernel reads blocks of \(x.block) channels and writes \(y.block)")
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
    case .winograd(let winograd):
      return "conv_f32_\(kernel)_winograd\(winograd.transform.step)_"
        + "\(shape.channels)to\(shape.outputs)\(size)_\(winograd.groupBlocks)x\(winograd.groupTiles)"
        + suffix
    case .depthwise:
      return "depthwise_f32_\(kernel)\(step)_\(shape.channels)\(size)\(suffix)"
    case .plain:
      let groups = shape.groups > 1 ? "_g\(shape.groups)" : ""
      return "conv_f32_\(kernel)\(step)\(groups)_plain_\(shape.channels)to\(shape.outputs)\(size)"
        + suffix
    }
  }

  func algorithm(_ schedule: ConvolutionSchedule) -> String {
    switch schedule {
    case .direct(let direct):
      "direct, tile of \(direct.tileBlocks * lanes) outputs x \(direct.tilePixelsMost) pixels, "
        + "\(direct.chunk) of \(direct.inputBlocks) input blocks at a time, threads split "
        + (direct.splitsTiles
          ? "\(direct.tiles) tiles of pixels" : "\(direct.groups) output groups")
    case .winograd(let winograd): winograd.description(lanes: lanes)
    case .depthwise(let depthwise):
      "depthwise, tile of \(lanes) channels x \(depthwise.tilePixelsMost) pixels, "
        + "threads split \(depthwise.blocks) blocks in \(depthwise.bands) bands"
    case .plain(let plain):
      "plain, \(lanes) pixels of a row x \(plain.outputsPerSet) outputs, threads split rows"
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
    case .winograd(let winograd):
      return try Templates.convolutionWinograd.render(
        common(schedule, name: name).merging(winogradValues(winograd)) { $1 })
    case .depthwise(let depthwise):
      return try Templates.convolutionDepthwise.render(
        common(schedule, name: name).merging(depthwiseValues(depthwise)) { $1 })
    case .plain(let plain):
      return try Templates.convolutionPlain.render(
        common(schedule, name: name).merging(plainValues(plain)) { $1 })
    }
  }

  /// What the templates share.
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
      "window_tables": schedule.windowTables, "group_origin": "", "group_depth": "blocks",
      "group_weights": "chunk * OUTPUT_BLOCKS + blocks * plane", "added_parameter": "",
      "add_residual": "", "residual_argument": "", "residual_plane": "",
    ]
    if let windows = schedule.windows {
      values["group_origin"] = " + (size_t)first_block[group] * X_PLANE"
      if !windows.isUniform {
        values["group_depth"] = "window[group]"
        values["group_weights"] = "(size_t)first_weights[group]"
      }
    }
    if let residual {
      values["residual_argument"] = "added, "
      values["added_parameter"] = "const float *added,"
      values["add_residual"] =
        "value += load(added + (size_t)o * \(residual.plane) + (pixel + (size_t)p) / WIDTH * "
        + "\(residual.row) + (pixel + (size_t)p) % WIDTH * LANES);"
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

  /// Floats of the weights of one set of outputs.
  func setWeights(_ schedule: PlainSchedule) -> Int {
    shape.channelsPerGroup * shape.window.kernel[0] * shape.window.kernel[1]
      * schedule.outputsPerSet
  }

  private func plainValues(_ schedule: PlainSchedule) -> [String: String] {
    let window = shape.window
    return [
      "stride_height": "\(window.strides[0])", "stride_width": "\(window.strides[1])",
      "dilation_height": "\(window.dilations[0])", "dilation_width": "\(window.dilations[1])",
      "pad_top": "\(window.pads[0])", "pad_left": "\(window.pads[1])",
      "x_height": "\(x.height)", "x_width": "\(x.width)", "x_row": "\(x.row)",
      "x_origin": "\(x.origin)", "group_channels": "\(shape.channelsPerGroup)",
      "group_outputs": "\(shape.outputsPerGroup)",
      "outputs_per_set": "\(schedule.outputsPerSet)", "sets_per_group": "\(schedule.setsPerGroup)",
      "sets": "\(schedule.sets)", "set_weights": "\(setWeights(schedule))",
      "add_residual": residual == nil
        ? ""
        : "value += lanes == LANES ? load(residual + place) : load_part(residual + place, lanes);",
    ]
  }
}

extension DirectSchedule {
  /// The C tables of what each group of output blocks reads; empty where all read the same.
  var windowTables: String {
    guard let windows else { return "" }
    func table(_ name: String, _ elements: [Int]) -> String {
      "static const unsigned \(name)[GROUPS] = {\n    \(CText.table(elements))};"
    }
    var tables = [table("first_block", windows.first)]
    if !windows.isUniform {
      tables.append(table("window", windows.counts))
      tables.append(table("first_weights", weightBlocksBefore.dropLast()))
    }
    return tables.joined(separator: "\n")
  }
}

extension Templates {
  static let convolutionDirect = Template(
    "convolution_direct.c", PackageResources.convolution_direct_c_in)
  static let convolutionWinograd = Template(
    "convolution_winograd.c", PackageResources.convolution_winograd_c_in)
  static let convolutionDepthwise = Template(
    "convolution_depthwise.c", PackageResources.convolution_depthwise_c_in)
  static let convolutionPlain = Template(
    "convolution_plain.c", PackageResources.convolution_plain_c_in)
}
