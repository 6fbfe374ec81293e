// Weights where a kernel wants them: constants in packed.bin, in the kernel's order ahead of time; those
// that training changes, or that a node computes, packed into the workspace before each use, by C that
// writes the very bytes of WeightPacking. (A matrix product packs a panel at a time, as it goes.)

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  /// The address of a convolution's weights [outputs, channels / groups, height, width] in the order
  /// that `schedule` reads.
  mutating func packConvolution(
    _ weight: ValueID, _ shape: ConvolutionShape, _ schedule: ConvolutionSchedule
  ) throws -> String {
    let lanes = target.lanes
    let window = shape.window
    let taps = window.kernel[0] * window.kernel[1]
    switch schedule {
    case .direct(let direct):
      let count =
        direct.weightBlocks * direct.blockWeights(kernel: window.kernel, lanes: lanes)
      guard isConstant(weight) else {
        return try packDirect(weight, shape, direct, floatCount: count)
      }
      let source = try data(of: weight)
      return packedConstant([weight], form: "direct \(direct)", floatCount: count) {
        WeightPacking.direct(
          source.floats(), into: $0, shape: shape, schedule: direct, lanes: lanes)
      }
    case .winograd(let winograd):
      let count = winograd.weightFloats(lanes: lanes)
      guard isConstant(weight) else {
        return try packWinograd(weight, shape, winograd, floatCount: count)
      }
      let source = try data(of: weight)
      return packedConstant(
        [weight], form: "winograd \(winograd.packedForm) \(lanes)", floatCount: count
      ) {
        WeightPacking.winograd(
          source.floats(), into: $0, shape: shape, schedule: winograd, lanes: lanes)
      }
    case .depthwise(let depthwise):
      let count = depthwise.blocks * taps * lanes
      guard isConstant(weight) else {
        return try packDepthwise(weight, shape, depthwise, floatCount: count)
      }
      let source = try data(of: weight)
      return packedConstant([weight], form: "depthwise \(lanes)", floatCount: count) {
        WeightPacking.depthwise(
          source.floats(), into: $0, channels: shape.channels, taps: taps, lanes: lanes)
      }
    case .plain(let plain):
      let count = plain.sets * plain.outputsPerSet * shape.channelsPerGroup * taps
      guard isConstant(weight) else {
        return try packPlain(weight, shape, plain, floatCount: count)
      }
      let source = try data(of: weight)
      return packedConstant(
        [weight], form: "plain sets of \(plain.outputsPerSet) in \(shape.groups) groups",
        floatCount: count
      ) { WeightPacking.plain(source.floats(), into: $0, shape: shape, schedule: plain) }
    }
  }

  private mutating func packedConstant(
    _ values: [ValueID], form: String, floatCount: Int,
    fill: @escaping (UnsafeMutableBufferPointer<Float>) throws -> Void
  ) -> String {
    Place.weights(weights.add(values, form: form, floatCount: floatCount, fill: fill)).expression
  }

  /// The address of weights that are packed into the workspace before each use, by the kernel that
  /// `template` becomes.
  private mutating func packBeforeUse(
    _ weight: ValueID, floatCount: Int, kernel name: String, algorithm: String, units: Int,
    _ template: Template, _ values: [String: String]
  ) throws -> String {
    try requireFloat([weight])
    let kernel = try library.add(name, algorithm: algorithm) { name in
      try template.render(values.merging(["name": name]) { $1 })
    }
    let packed = workspace(floats: floatCount)
    try emit(kernel, [address(weight), packed], units: WorkUnits(fixed: units))
    return packed
  }

  private mutating func packDirect(
    _ weight: ValueID, _ shape: ConvolutionShape, _ schedule: DirectSchedule, floatCount: Int
  ) throws -> String {
    let window = shape.window
    var values = [
      "banner": "Packs weights [\(shape.outputs), \(shape.channelsPerGroup), "
        + "\(window.kernel[0]), \(window.kernel[1])] for a direct convolution, groups "
        + "\(shape.groups).",
      "outputs": "\(shape.outputs)", "group_outputs": "\(shape.outputsPerGroup)",
      "group_channels": "\(shape.channelsPerGroup)",
      "taps": "\(window.kernel[0] * window.kernel[1])",
      "input_block": "\(schedule.inputBlock)", "input_blocks": "\(schedule.inputBlocks)",
      "chunk": "\(schedule.chunk)", "output_blocks": "\(schedule.outputBlocks)",
      "tile_blocks": "\(schedule.tileBlocks)", "groups": "\(schedule.groups)",
      "window_tables": schedule.windowTables, "first_block": "0", "skip": "",
      "place": "chunk * OUTPUT_BLOCKS + depth * plane + (block - chunk) * blocks",
    ]
    if let windows = schedule.windows {
      values["first_block"] = "first_block[group]"
      if !windows.isUniform {
        values["skip"] = "if (block >= window[group]) continue;"
        values["place"] = "first_weights[group] + block * blocks"
      }
    }
    return try packBeforeUse(
      weight, floatCount: floatCount,
      kernel: "pack_direct_f32_\(window.kernel[0])x\(window.kernel[1])_\(shape.channels)to"
        + "\(shape.outputs)_\(schedule.tileBlocks)_by_\(schedule.chunk)",
      algorithm: "weights into the convolution's order, threads split output and input blocks",
      units: schedule.groups * schedule.inputBlocks, Templates.packDirect, values)
  }

  private mutating func packWinograd(
    _ weight: ValueID, _ shape: ConvolutionShape, _ schedule: WinogradSchedule, floatCount: Int
  ) throws -> String {
    let transform = schedule.transform
    return try packBeforeUse(
      weight, floatCount: floatCount,
      kernel: "pack_winograd\(transform.step)_f32_\(shape.channels)to\(shape.outputs)"
        + "_\(schedule.setBlocks)_by_\(schedule.groupBlocks)",
      algorithm: "weights transformed into the convolution's order, threads split output and input "
        + "blocks",
      units: schedule.outputBlocks * schedule.inputBlocks, Templates.packWinograd,
      [
        "banner": "Transforms weights [\(shape.outputs), \(shape.channels), 3, 3] for Winograd's "
          + "F(\(transform.step)x\(transform.step), 3x3).",
        "outputs": "\(shape.outputs)", "channels": "\(shape.channels)",
        "side": "\(transform.side)", "input_blocks": "\(schedule.inputBlocks)",
        "output_blocks": "\(schedule.outputBlocks)", "group_blocks": "\(schedule.groupBlocks)",
        "set_blocks": "\(schedule.setBlocks)",
        "matrix": transform.weightMatrix
          .map { "{" + $0.map { "\($0)" }.joined(separator: ", ") + "}," }
          .joined(separator: "\n"),
      ])
  }

  private mutating func packDepthwise(
    _ weight: ValueID, _ shape: ConvolutionShape, _ schedule: DepthwiseSchedule, floatCount: Int
  ) throws -> String {
    let taps = shape.window.kernel[0] * shape.window.kernel[1]
    return try packBeforeUse(
      weight, floatCount: floatCount, kernel: "pack_depthwise_f32_\(taps)_\(shape.channels)",
      algorithm: "weights into the convolution's order, threads split blocks of channels",
      units: schedule.blocks, Templates.packDepthwise,
      [
        "banner": "Packs \(taps) weights of each of \(shape.channels) channels for a depthwise "
          + "convolution.",
        "channels": "\(shape.channels)", "taps": "\(taps)",
      ])
  }

  private mutating func packPlain(
    _ weight: ValueID, _ shape: ConvolutionShape, _ schedule: PlainSchedule, floatCount: Int
  ) throws -> String {
    let steps = shape.channelsPerGroup * shape.window.kernel[0] * shape.window.kernel[1]
    return try packBeforeUse(
      weight, floatCount: floatCount,
      kernel: "pack_plain_f32_\(steps)to\(shape.outputsPerGroup)_g\(shape.groups)",
      algorithm: "weights into sets of \(schedule.outputsPerSet) outputs, threads split sets",
      units: schedule.sets, Templates.packPlain,
      [
        "banner": "Packs \(steps) weights of each of \(shape.outputs) outputs into sets of "
          + "\(schedule.outputsPerSet).",
        "group_outputs": "\(shape.outputsPerGroup)", "steps": "\(steps)",
        "outputs_per_set": "\(schedule.outputsPerSet)",
        "sets_per_group": "\(schedule.setsPerGroup)",
      ])
  }

  /// The address of a constant matrix of `inputs` × `outputs` in groups of `groupLanes` outputs.
  mutating func packMatrix(
    _ weight: ValueID, inputs: Int, outputs: Int, groupLanes: Int, isTransposed: Bool, scale: Float
  ) throws -> String {
    let groups = (outputs + groupLanes - 1) / groupLanes
    let source = try data(of: weight)
    return packedConstant(
      [weight], form: "matrix \(groupLanes) \(isTransposed) x \(scale)",
      floatCount: groups * inputs * groupLanes
    ) {
      WeightPacking.matrix(
        source.floats(), into: $0, inputs: inputs, outputs: outputs, groupLanes: groupLanes,
        isTransposed: isTransposed, scale: scale)
    }
  }

  /// One float a channel that is no constant: read in place where the zeros behind a state buffer
  /// are enough, else copied into the workspace with zeros behind it.
  mutating func computedVector(
    _ value: ValueID, count: Int, padded: Int, scale: Float
  ) throws -> String {
    try requireFloat([value])
    guard type(value).layout.isPlain, type(value).shape.elementCount == Dimension(count) else {
      throw GraftError(.inconsistency, "expected \(count) elements, found \(type(value))")
    }
    let source = try address(value)
    let lineFloats = 16
    let stored = (count + lineFloats - 1) / lineFloats * lineFloats
    if scale == 1 && padded <= (places.isState(value) ? stored : count) { return source }
    let kernel = try library.add(
      "copy_vector_f32_\(count)_to_\(padded)", algorithm: "one run with zeros behind it"
    ) { name in
      try Templates.copyVector.render([
        "banner": "Copies \(count) elements times \(CText.float(Double(scale))), then zeros up to "
          + "\(padded).",
        "name": name, "count": "\(count)", "padded": "\(padded)",
        "scale": CText.float(Double(scale)),
      ])
    }
    let copied = workspace(floats: padded)
    emit(kernel, [source, copied], units: WorkUnits(fixed: 1))
    return copied
  }
}

extension Templates {
  static let packWinograd = Template("pack_winograd.c", PackageResources.pack_winograd_c_in)
  static let packDirect = Template("pack_direct.c", PackageResources.pack_direct_c_in)
  static let packDepthwise = Template("pack_depthwise.c", PackageResources.pack_depthwise_c_in)
  static let packPlain = Template("pack_plain.c", PackageResources.pack_plain_c_in)
  static let copyVector = Template("copy_vector.c", PackageResources.copy_vector_c_in)
}
