// The gradient of a convolution's weights: over blocks of channels or planes, for groups that are no whole
// blocks, and over plain images.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  /// x, dy → dw in plain order. Where dy is blocked the border of x must hold the pads.
  mutating func lower(_ operation: ConvolutionWeightGradient, _ node: Node) throws {
    let (input, gradient) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    try requireFloat([input, gradient, output])
    let x = try ImageGeometry(type(input))
    let dy = try ImageGeometry(type(gradient))
    let shape = ConvolutionShape(
      channels: x.channels, height: x.height, width: x.width, outputs: dy.channels,
      resultHeight: dy.height, resultWidth: dy.width, window: operation.window,
      groups: operation.groups)
    guard type(output).layout.isPlain else {
      throw GraftError(.inconsistency, "weights are plain, found \(type(output))")
    }
    let schedule = WeightGradientSchedule.choose(
      shape, xRow: x.row, isPlanar: x.block == 1, isPlain: dy.block == 1,
      images: dy.images.isBatch ? typicalBatch : dy.images.coefficient,
      preferred: convolutions.algorithm, target: target)
    if schedule == .plain {
      guard x.block == 1, !x.hasBorder, !dy.hasBorder else {
        throw GraftError(.inconsistency, "expected two plain images, found \(type(input))")
      }
    } else {
      try checkLayouts(x: x, y: dy, window: operation.window)
    }
    let parts = WeightGradientParts(shape: shape, x: x, dy: dy, lanes: target.lanes)
    let kernel = try library.add(
      parts.name(schedule), algorithm: parts.algorithm(schedule),
      render: { try parts.render(schedule, name: $0) })
    let units = WorkUnits(fixed: parts.units(schedule))
    guard case .winograd(let winograd) = schedule else {
      try emit(
        kernel,
        [address(input), address(gradient), address(output), dy.images.expression],
        units: units)
      return
    }
    let results = workspace(floats: winograd.resultFloats(lanes: target.lanes))
    let scratch = scratch(floats: winograd.scratchFloats(lanes: target.lanes))
    try emit(
      kernel, [address(input), address(gradient), results, dy.images.expression, scratch],
      units: units)
    let finish = try library.add(
      parts.finishName(winograd), algorithm: "one channel for each lane, threads split outputs",
      render: { try parts.renderFinish(winograd, name: $0) })
    try emit(finish, [results, address(output)], units: WorkUnits(fixed: shape.outputs))
  }
}

/// Everything that makes a kernel for the gradient of weights.
struct WeightGradientParts {
  let shape: ConvolutionShape
  let x: ImageGeometry
  let dy: ImageGeometry
  let lanes: Int

  func units(_ schedule: WeightGradientSchedule) -> Int {
    switch schedule {
    case .blocked(let blocked): blocked.units
    case .winograd(let winograd): winograd.units
    case .lanes(let lanes): lanes.units
    case .plain:
      shape.outputs * shape.channelsPerGroup * shape.window.kernel[0] * shape.window.kernel[1]
    }
  }

  func name(_ schedule: WeightGradientSchedule) -> String {
    let window = shape.window
    let step = window.strides == [1, 1] ? "" : "_s\(window.strides[0])x\(window.strides[1])"
    let groups = shape.groups > 1 ? "_g\(shape.groups)" : ""
    let form =
      switch schedule {
      case .blocked(let blocked): blocked.inputBlock == 1 ? "_planar" : ""
      case .winograd(let winograd): "_winograd\(winograd.transform.step)"
      case .lanes: "_lanes"
      case .plain: "_plain"
      }
    return "conv_gradient_f32_\(window.kernel[0])x\(window.kernel[1])\(step)\(groups)\(form)"
      + "_\(shape.channels)to\(shape.outputs)_\(shape.height)x\(shape.width)"
  }

  func algorithm(_ schedule: WeightGradientSchedule) -> String {
    switch schedule {
    case .blocked(let blocked):
      "tile of \(blocked.tileBlocks * lanes) outputs x \(blocked.tileChannels) channels x "
        + "\(blocked.tileColumns) columns, summed over \(blocked.stripRows) rows of "
        + "\(blocked.stripImages) images at a time, threads split \(blocked.units) parts of the "
        + "weights"
    case .winograd(let winograd): winograd.description(lanes: lanes)
    case .lanes(let gradient):
      "one channel for each lane, \(gradient.setRows * shape.window.kernel[1]) weights at a time, "
        + "threads split \(gradient.units) parts of the weights"
    case .plain: "one weight at a time, vectors of columns, threads split weights"
    }
  }

  private func banner(_ schedule: WeightGradientSchedule) -> String {
    let window = shape.window
    let text = """
      Gradient of weights [\(shape.outputs), \(shape.channelsPerGroup), \(window.kernel[0]), \
      \(window.kernel[1])] of a convolution [\(shape.channels), \(shape.height), \
      \(shape.width)] -> [\(shape.outputs), \(shape.resultHeight), \(shape.resultWidth)], \
      strides \(window.strides), pads \(window.pads), dilations \(window.dilations), groups \
      \(shape.groups), float32 throughout.
      """
    return CText.wrapped(text) + "\n * " + CText.wrapped(algorithm(schedule)) + "."
  }

  func render(_ schedule: WeightGradientSchedule, name: String) throws -> String {
    switch schedule {
    case .blocked(let blocked):
      try Templates.weightGradient.render(
        common(schedule, name: name).merging(values(blocked)) { $1 })
    case .winograd(let winograd):
      try Templates.weightGradientWinograd.render(
        common(schedule, name: name).merging(values(winograd)) { $1 })
    case .lanes(let lanes):
      try Templates.weightGradientLanes.render(
        common(schedule, name: name).merging(values(lanes)) { $1 })
    case .plain:
      try Templates.weightGradientPlain.render(
        common(schedule, name: name).merging(plainValues) { $1 })
    }
  }

  /// What the templates share.
  private func common(_ schedule: WeightGradientSchedule, name: String) -> [String: String] {
    let window = shape.window
    let originRow = (x.borderHeight - window.pads[0]) * x.row
    let originColumn = (x.borderWidth - window.pads[1]) * x.block
    return [
      "banner": banner(schedule), "name": name,
      "outputs": "\(shape.outputs)", "group_outputs": "\(shape.outputsPerGroup)",
      "group_channels": "\(shape.channelsPerGroup)", "height": "\(dy.height)",
      "width": "\(dy.width)", "kernel_height": "\(window.kernel[0])",
      "kernel_width": "\(window.kernel[1])", "input_block": "\(x.block)",
      "x_image": "\(x.image)", "x_plane": "\(x.plane)", "x_origin": "\(originRow + originColumn)",
      "x_row_step": "\(window.strides[0] * x.row)",
      "x_column_step": "\(window.strides[1] * x.block)",
      "x_kernel_row": "\(window.dilations[0] * x.row)",
      "x_kernel_column": "\(window.dilations[1] * x.block)", "dy_image": "\(dy.image)",
      "dy_plane": "\(dy.plane)", "dy_row": "\(dy.row)", "dy_origin": "\(dy.origin)",
    ]
  }

  private func values(_ schedule: BlockedWeightGradientSchedule) -> [String: String] {
    let narrow = schedule.wideParts < schedule.parts ? 1 : 0
    return [
      "tile_blocks": "\(schedule.tileBlocks)", "tile_taps": "\(schedule.tileTaps)",
      "tile_channels": "\(schedule.tileChannels)", "tile_columns": "\(schedule.tileColumns)",
      "parts": "\(schedule.parts)", "wide_parts": "\(schedule.wideParts)",
      "narrow_taps": "\(schedule.tileChannels * (schedule.tileColumns - narrow))",
      "set_blocks": "\(schedule.setBlocks)", "sets": "\(schedule.sets)",
      "set_rows": "\(schedule.setRows)", "strip_images": "\(schedule.stripImages)",
      "strip_rows": "\(schedule.stripRows)", "group_blocks": "\(schedule.groupBlocks)",
      "groups": "\(schedule.groups)", "full_groups": "\(schedule.fullGroups)",
      "last_group_blocks": "\(schedule.lastGroupBlocks)",
      // More pointers than this would not stay in registers themselves.
      "hide_pointer": schedule.tileColumns <= 6 ? "__asm__(\"\" : \"+r\"(from[k]));" : "",
    ]
  }

  private func values(_ schedule: WinogradGradientSchedule) -> [String: String] {
    let transform = schedule.transform
    func table(_ matrix: [[Double]]) -> String {
      matrix.map { "{" + $0.map(CText.float).joined(separator: ", ") + "}," }
        .joined(separator: "\n")
    }
    return [
      "input_statements": transform.inputStatements(from: "d", to: "t"),
      "gradient_statements": transform.gradientStatements(from: "d", to: "t"),
      "input_matrix": table(transform.inputMatrix),
      "gradient_matrix": table(WinogradTransform.transpose(transform.outputMatrix)),
      "side": "\(schedule.side)", "step": "\(transform.step)",
      "tile_columns": "\(schedule.tileColumns)", "tiles": "\(schedule.tiles)",
      "input_blocks": "\(schedule.inputBlocks)", "output_blocks": "\(schedule.outputBlocks)",
      "tile_blocks": "\(schedule.tileBlocks)", "tile_outputs": "\(schedule.tileOutputs)",
      "set_inputs": "\(schedule.setInputs)", "set_outputs": "\(schedule.setOutputs)",
      "input_sets": "\(schedule.inputSets)", "output_sets": "\(schedule.outputSets)",
      "block_tiles": "\(schedule.blockTiles)",
      "block_floats": "\(schedule.blockFloats(lanes: lanes))",
      "point_floats": "\(schedule.pointFloats(lanes: lanes))",
      // From the first pixel that a window reads to the end of the border.
      "x_rows": "\(x.height + x.borderHeight + shape.window.pads[0])",
      "x_columns": "\(x.width + x.borderWidth + shape.window.pads[1])",
    ]
  }

  func finishName(_ schedule: WinogradGradientSchedule) -> String {
    "winograd\(schedule.transform.step)_gradient_finish_f32_\(shape.channels)to\(shape.outputs)"
  }

  func renderFinish(_ schedule: WinogradGradientSchedule, name: String) throws -> String {
    let transform = schedule.transform
    return try Templates.winogradGradientFinish.render([
      "banner": CText.wrapped(
        "The last step of the gradient of weights [\(shape.outputs), \(shape.channels), 3, 3] by "
          + "Winograd's F(\(transform.step)x\(transform.step), 3x3)."),
      "name": name, "statements": transform.weightGradientStatements(from: "u", to: "t"),
      "side": "\(transform.side)", "channels": "\(shape.channels)",
      "input_blocks": "\(schedule.inputBlocks)",
      "point_floats": "\(schedule.pointFloats(lanes: lanes))",
    ])
  }

  private func values(_ schedule: LanesWeightGradientSchedule) -> [String: String] {
    // A depthwise convolution's lanes lie side by side.
    let isContiguous = shape.isDepthwise && x.block == lanes
    return [
      "set_rows": "\(schedule.setRows)",
      "load": isContiguous
        ? "value = load(at + places[0]);"
        : "for (int lane = 0; lane < LANES; lane++) value[lane] = at[places[lane]];",
    ]
  }

  private var plainValues: [String: String] {
    let window = shape.window
    return [
      "channels": "\(shape.channels)", "x_height": "\(shape.height)",
      "x_width": "\(shape.width)", "stride_height": "\(window.strides[0])",
      "stride_width": "\(window.strides[1])", "dilation_height": "\(window.dilations[0])",
      "dilation_width": "\(window.dilations[1])", "pad_top": "\(window.pads[0])",
      "pad_left": "\(window.pads[1])",
    ]
  }
}

extension Templates {
  static let weightGradient = Template(
    "convolution_weight_gradient.c", PackageResources.convolution_weight_gradient_c_in)
  static let weightGradientWinograd = Template(
    "convolution_weight_gradient_winograd.c",
    PackageResources.convolution_weight_gradient_winograd_c_in)
  static let winogradGradientFinish = Template(
    "winograd_gradient_finish.c", PackageResources.winograd_gradient_finish_c_in)
  static let weightGradientLanes = Template(
    "convolution_weight_gradient_lanes.c", PackageResources.convolution_weight_gradient_lanes_c_in)
  static let weightGradientPlain = Template(
    "convolution_weight_gradient_plain.c", PackageResources.convolution_weight_gradient_plain_c_in)
}
