// The extents of a convolution, and the division of pixels and outputs into register tiles.

import GraftIR
import GraftOps

/// All extents of a convolution, except the batch.
struct ConvolutionShape: Hashable {
  var channels: Int
  var height: Int
  var width: Int
  var outputs: Int
  var resultHeight: Int
  var resultWidth: Int
  var window: Window
  var groups: Int

  var resultPixels: Int { resultHeight * resultWidth }
  var channelsPerGroup: Int { channels / groups }
  var outputsPerGroup: Int { outputs / groups }
  var isDepthwise: Bool { groups == channels && outputs == channels && groups > 1 }
}

extension ConvolutionShape {
  /// Kernel and strides for names, as in `3x3_s2x2`.
  var windowName: String {
    let strides = window.strides
    return "\(window.kernel[0])x\(window.kernel[1])"
      + (strides == [1, 1] ? "" : "_s" + strides.map(String.init).joined(separator: "x"))
  }

  /// How a kernel's window steps over the image that it reads, for templates.
  func windowValues(over x: ImageGeometry) -> [String: String] {
    let originRow = (x.borderHeight - window.pads[0]) * x.row
    let originColumn = (x.borderWidth - window.pads[1]) * x.block
    return [
      "kernel_height": "\(window.kernel[0])", "kernel_width": "\(window.kernel[1])",
      "x_image": "\(x.image)", "x_plane": "\(x.plane)",
      "x_origin": "\(originRow + originColumn)",
      "x_row_step": "\(window.strides[0] * x.row)",
      "x_column_step": "\(window.strides[1] * x.block)",
      "x_kernel_row": "\(window.dilations[0] * x.row)",
      "x_kernel_column": "\(window.dilations[1] * x.block)",
    ]
  }
}

/// Register tiles: blocks of outputs × pixels whose sums stay in vector registers.
enum RegisterTile {
  /// Splits `count` into the fewest parts of at most `most`, as evenly as integers allow:
  /// the first `wide` parts have one more than the others.
  static func balanced(_ count: Int, most: Int) -> (parts: Int, narrow: Int, wide: Int) {
    let parts = max(1, (count + most - 1) / most)
    return (parts, count / parts, count % parts)
  }

  /// Output blocks × pixels. Accumulators, the weights of one input channel and one broadcast must
  /// fit the registers (one more for the product without FMA), and each pixel takes an address
  /// register. 2 × 6 and 3 × 4 measured 91–98 % of the FMA peak on Zen 3, 1 × 12 only 75 %.
  /// - Parameter preferred: the number of output blocks to use if ``choices(target:)`` contains it.
  static func choose(
    outputBlocks: Int, preferred: Int? = nil, target: Target
  ) -> (blocks: Int, pixels: Int) {
    let blocks: Int
    if let preferred, preferred <= outputBlocks, choices(target: target).contains(preferred) {
      blocks = preferred
    } else if target.registers >= 32 {
      blocks =
        outputBlocks % 4 == 0 ? 4 : outputBlocks % 3 == 0 ? 3 : min(2, outputBlocks)
    } else {
      blocks = outputBlocks % 3 == 0 && outputBlocks % 2 != 0 ? 3 : min(2, outputBlocks)
    }
    return (blocks, pixels(blocks: blocks, target: target))
  }

  /// Output blocks of the register tiles that keep the multipliers busy.
  static func choices(target: Target) -> [Int] { target.registers >= 32 ? [4, 3, 2] : [2, 3] }

  /// The most pixels of a register tile of 1 to 4 output blocks.
  static func pixels(blocks: Int, target: Target) -> Int {
    if target.registers >= 32 { return blocks == 4 ? 6 : 8 }
    let needsProduct = !target.hasFusedMultiplyAdd
    switch blocks {
    case 1: return 8
    case 2: return needsProduct ? 5 : 6
    default: return needsProduct ? 3 : 4
    }
  }
}
