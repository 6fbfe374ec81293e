// Depthwise convolutions.

import GraftIR
import GraftOps

/// Depthwise convolution: one vector of channels, a row of pixels at a time.
struct DepthwiseSchedule: Hashable {
  var blocks: Int
  var tilePixels: Int
  var tiles: Int
  var wideTiles: Int
  /// The number of row bands of a plane, so that few channels still occupy many threads.
  var bands: Int

  var tilePixelsMost: Int { wideTiles > 0 ? tilePixels + 1 : tilePixels }
  var unitsPerImage: Int { blocks * bands }
}

extension DepthwiseSchedule {
  init(_ shape: ConvolutionShape, target: Target) {
    let blocks = (shape.channels + target.lanes - 1) / target.lanes
    let (tiles, narrow, wide) = RegisterTile.balanced(
      shape.resultWidth, most: target.registers >= 32 ? 12 : 6)
    self.init(
      blocks: blocks, tilePixels: narrow, tiles: tiles, wideTiles: wide,
      bands: max(1, min(shape.resultHeight, (32 + blocks - 1) / blocks)))
  }
}

extension KernelFamily {
  static let depthwiseConvolution = KernelFamily(
    name: "depthwise",
    rules: [
      .serving(Convolution.self) { operation, node, context in
        let convolution = try ConvolutionNode(operation, node, context)
        guard convolution.isDepthwise else { return [] }
        let schedule = DepthwiseSchedule(convolution.shape, target: context.target)
        return [DepthwiseConvolution(convolution: convolution, schedule: schedule)]
      }
    ])
}

struct DepthwiseConvolution: ConvolutionKernel {
  let convolution: ConvolutionNode
  let schedule: DepthwiseSchedule

  private var taps: Int { shape.window.kernel[0] * shape.window.kernel[1] }

  var summary: String {
    "depthwise, tile of \(lanes) channels x \(schedule.tilePixelsMost) pixels, "
      + "threads split \(schedule.blocks) blocks in \(schedule.bands) bands"
  }

  var cost: Double { ConvolutionCost.direct(shape, target: convolution.target) }

  var units: WorkUnits { WorkUnits(schedule.unitsPerImage, times: convolution.y.images) }

  var kernelName: String { "depthwise_f32_\(windowName)_\(shape.channels)\(sizeName)\(suffix)" }

  var identity: AnyHashable { schedule }

  var template: Template { Templates.convolutionDepthwise }

  var templateValues: [String: String] {
    let taps = shape.window.kernel[0] * shape.window.kernel[1]
    var values = [
      "tiles": "\(schedule.tiles)", "wide_tiles": "\(schedule.wideTiles)",
      "tile_pixels": "\(schedule.tilePixels)", "tile_pixels_most": "\(schedule.tilePixelsMost)",
      "bands": "\(schedule.bands)", "kernel_size": "\(taps)",
      "kernel_unroll": taps <= 25 ? "UNROLL" : "NO_UNROLL",
      "add_residual": "", "residual_argument": "", "residual_plane": "", "residual_tile": "",
    ]
    if let residual = convolution.residual {
      values["residual_argument"] = "added, "
      values["add_residual"] = "sum[p] += load(residual + p * LANES);"
      values["residual_plane"] =
        "const float *addend = residual + plane * \(residual.plane) + \(residual.origin);"
      values["residual_tile"] =
        "const float *added = addend + row * \(residual.row) + column * LANES;"
    }
    return values
  }

  /// [channels, 1, kernel height, kernel width] → [channel block][kernel height][kernel width][lane].
  var weightOrder: WeightOrder {
    let unit = IndexExpression.name("unit")
    var steps = IndexSteps()
    steps.add("width", .number(lanes))
    steps.add("first_output", unit * lanes)
    steps.add("place", unit * (taps * lanes))
    return WeightOrder(
      form: "depthwise \(lanes)", floatCount: schedule.blocks * taps * lanes, lanes: lanes,
      panels: WeightPanels(
        count: schedule.blocks, steps: steps, endOutput: .number(shape.channels),
        contents: .copies(taps: taps, inputs: 1, source: .outputs(output: taps, tap: 1))),
      kernelName: "pack_depthwise_f32_\(taps)_\(shape.channels)",
      algorithm: "weights into the convolution's order, threads split blocks of channels",
      banner: "Packs \(taps) weights of each of \(shape.channels) channels for a depthwise "
        + "convolution.")
  }
}

extension Templates {
  static let convolutionDepthwise = Template(
    "convolution_depthwise.c", PackageResources.convolution_depthwise_c_in)
}
