// Depthwise convolutions.

import GraftIR
import GraftOps

/// Depthwise convolution: one vector of channels, a row of pixels at a time.
struct DepthwiseSchedule: Hashable {
  var blocks: Int
  var tilePixels: Int
  var tiles: Int
  var wideTiles: Int
  /// Parts of a plane, so that few channels still make work for many threads.
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

  var weightOrder: WeightOrder {
    let (channels, taps, lanes) = (shape.channels, taps, lanes)
    return WeightOrder(
      form: "depthwise \(lanes)", floatCount: schedule.blocks * taps * lanes,
      fill: { Self.pack($0, into: $1, channels: channels, taps: taps, lanes: lanes) },
      kernelName: "pack_depthwise_f32_\(taps)_\(channels)",
      algorithm: "weights into the convolution's order, threads split blocks of channels",
      units: schedule.blocks, template: Templates.packDepthwise,
      values: [
        "banner": "Packs \(taps) weights of each of \(shape.channels) channels for a depthwise "
          + "convolution.",
        "channels": "\(shape.channels)", "taps": "\(taps)",
      ])
  }

  /// [channels, 1, kernel height, kernel width] → [channel block][kernel height][kernel width][lane].
  private static func pack(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, channels: Int, taps: Int,
    lanes: Int
  ) {
    for channel in 0..<channels {
      let start = channel / lanes * taps * lanes + channel % lanes
      for tap in 0..<taps { packed[start + tap * lanes] = weights[channel * taps + tap] }
    }
  }
}

extension Templates {
  static let convolutionDepthwise = Template(
    "convolution_depthwise.c", PackageResources.convolution_depthwise_c_in)
  static let packDepthwise = Template("pack_depthwise.c", PackageResources.pack_depthwise_c_in)
}
