// Convolutions of 3x3 and 2x2 with stride 1 by Winograd's algorithm (Lavin and Gray, 2015, "Fast Algorithms for
// Convolutional Neural Networks").

import GraftIR
import GraftOps

extension KernelFamily {
  static let winogradConvolution = KernelFamily(
    name: "winograd",
    rules: [
      .serving(Convolution.self) { operation, node, context in
        let convolution = try ConvolutionNode(operation, node, context)
        guard convolution.takesWinograd, let taps = WinogradSchedule.taps(of: convolution.shape)
        else { return [] }
        let variant = context.preferences.variant(at: convolution.site)
        let algorithms = variant.map { [$0.algorithm] } ?? ConvolutionAlgorithm.allCases
        return algorithms.compactMap { $0.transform(taps: taps) }.map { transform in
          WinogradConvolution(
            convolution: convolution,
            schedule: WinogradSchedule(
              convolution.shape, transform: transform, variant, images: convolution.y.images,
              target: context.target),
            images: context.count(convolution.y.images))
        }
      }
    ])
}

extension ConvolutionNode {
  /// Whether Winograd's algorithm is applicable.
  var takesWinograd: Bool {
    isBlocked && !isPlanar && WinogradSchedule.taps(of: shape) != nil
  }
}

struct WinogradConvolution: ConvolutionKernel {
  let convolution: ConvolutionNode
  let schedule: WinogradSchedule
  /// The batch size, or a typical one.
  let images: Int

  var algorithm: ConvolutionAlgorithm { schedule.transform.step == 2 ? .winograd2 : .winograd4 }

  var summary: String { schedule.description(lanes: lanes) }

  var cost: Double {
    ConvolutionCost.winograd(schedule, images: images, target: convolution.target)
  }

  var reluctance: Double { 1 / (1 - ConvolutionCost.leastGain) }

  var scratchBytes: Int {
    (schedule.scratchFloats(lanes: lanes) * MemoryLayout<Float>.size + 63) / 64 * 64
  }

  var workShape: WorkShape { schedule.workShape(shape) }

  var units: WorkUnits {
    schedule.splitsTiles
      ? WorkUnits(schedule.tiles, times: convolution.y.images) : WorkUnits(fixed: schedule.sets)
  }

  var lastArguments: [String] { [convolution.y.images.expression, "scratch"] }

  var kernelName: String {
    "conv_f32_\(windowName)_winograd\(schedule.transform.step)_\(shape.channels)to\(shape.outputs)"
      + "\(sizeName)_\(schedule.groupBlocks)x\(schedule.groupTiles)\(suffix)"
  }

  var identity: AnyHashable { schedule }

  var template: Template { Templates.convolutionWinograd }

  var templateValues: [String: String] {
    var values = schedule.templateValues(shape, x: convolution.x, lanes: lanes).merging([
      "x_scalar": "float", "v_scalar": "float", "w_vector": "vf", "v_vector": "float",
      "load_x": "load", "store_v": "store", "load_w": "load", "load_v": "*",
      "add_product": "sum[o][p] += weight[o] * value;", "inputs_together": "1",
      "factor_parameter": "", "multiplier_parameter": "", "factor": "", "factor_argument": "",
      "multiplier_argument": "", "multiply": "", "y_scalar": "float",
      "fill_border": "fill_float_border", "y_border_value": "0", "finish": "", "store": "store",
      "stored": convolution.activation.expression("value"),
      "added_parameter": "", "add_residual": "", "residual_argument": "", "residual_pass": "",
      "residual_tile": "",
    ]) { $1 }
    if let residual = convolution.residual {
      values["added_parameter"] = "const float *added,"
      values["add_residual"] = "value += load(added + i * \(residual.row) + j * LANES);"
      values["residual_argument"] = "added, "
      values["residual_pass"] = "residual, "
      values["residual_tile"] =
        "const float *added = residual + block * \(residual.plane) + \(residual.origin)\n"
        + "    + row * \(residual.row) + column * LANES;"
    }
    return values
  }
}

extension WinogradSchedule {
  /// What the template needs for any element type.
  func templateValues(
    _ shape: ConvolutionShape, x: ImageGeometry, lanes: Int
  ) -> [String: String] {
    [
      "input_statements": transform.inputStatements(from: "d", to: "t"),
      "output_statements": transform.outputStatements(from: "p", to: "t"),
      "side": "\(transform.side)", "step": "\(transform.step)",
      "tile_columns": "\(tiling.tileColumns)", "tiles": "\(tiles)",
      // The channels of the only block, if it is not full; those of several blocks are multiplied with zeros.
      "block_inputs": shape.channels <= lanes - 4 ? "\((shape.channels + 3) / 4 * 4)" : "LANES",
      "input_blocks": "\(inputBlocks)", "chunk": "\(chunk)",
      // From the first pixel that a window reads to the end of the border.
      "x_rows": "\(x.height + x.borderHeight + shape.window.pads[0])",
      "x_columns": "\(x.width + x.borderWidth + shape.window.pads[1])",
      "group_blocks": "\(groupBlocks)", "group_tiles": "\(groupTiles)",
      "set_blocks": "\(setBlocks)", "sets": "\(sets)",
      "block_tiles": "\(blockTiles)", "split_tiles": splitsTiles ? "1" : "0",
      "streams_weights": streamsWeights ? "1" : "0",
      "point_gap": "\(WinogradSchedule.pointGap)",
    ]
  }
}

extension Templates {
  static let convolutionWinograd = Template(
    "convolution_winograd.c", PackageResources.convolution_winograd_c_in)
  static let packWinograd = Template("pack_winograd.c", PackageResources.pack_winograd_c_in)
}
