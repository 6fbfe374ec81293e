// Convolutions computed directly, grouped or not, over blocks of channels or planes: a register tile of
// output blocks × pixels, summed over chunks of input blocks.

import GraftIR
import GraftOps

extension KernelFamily {
  static let directConvolution = KernelFamily(
    name: "direct",
    rules: [
      .serving(Convolution.self) { operation, node, context in
        let convolution = try ConvolutionNode(operation, node, context)
        guard convolution.isBlocked else { return [] }
        let variant = context.preferences.variant(at: convolution.site)
        if let variant, variant.algorithm.isTransform, convolution.takesWinograd { return [] }
        let schedule = DirectSchedule(
          convolution.shape, isPlanar: convolution.isPlanar, variant ?? .direct,
          target: context.target)
        return [DirectConvolution(convolution: convolution, schedule: schedule)]
      }
    ])
}

struct DirectConvolution: ConvolutionKernel {
  let convolution: ConvolutionNode
  let schedule: DirectSchedule

  var summary: String {
    "direct, tile of \(schedule.tileBlocks * lanes) outputs x \(schedule.tilePixelsMost) pixels, "
      + "\(schedule.chunk) of \(schedule.inputBlocks) input blocks at a time, threads split "
      + (schedule.splitsTiles
        ? "\(schedule.tiles) tiles of pixels" : "\(schedule.groups) output groups")
  }

  var cost: Double {
    ConvolutionCost.streaming(
      weights: schedule.weightBlocks
        * schedule.blockWeights(
          kernel: shape.window.kernel, lanes: lanes),
      pixels: shape.resultPixels, target: convolution.target)
  }

  var units: WorkUnits { WorkUnits(schedule.unitsPerImage, times: convolution.y.images) }

  var kernelName: String {
    let form = schedule.inputBlock == 1 ? "_planar" : ""
    return "conv_f32_\(windowName)\(groupsName)\(form)_\(shape.channels)to\(shape.outputs)"
      + "\(sizeName)_\(schedule.tileBlocks)x\(schedule.tilePixelsMost)\(suffix)"
  }

  var identity: AnyHashable { schedule }

  var template: Template { Templates.convolutionDirect }

  var templateValues: [String: String] {
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
    if let residual = convolution.residual {
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
}

extension DirectSchedule {
  /// C tables of the input blocks that each group of output blocks reads; empty if all read the same.
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
}
