// The order of the weights of direct convolutions, written twice to the same bits: while compiling, and as C for
// weights that training changes.

import GraftIR
import GraftOps

extension DirectConvolution {
  var weightOrder: WeightOrder {
    let (shape, schedule, lanes) = (shape, schedule, lanes)
    return WeightOrder(
      form: "direct \(schedule)",
      floatCount: schedule.weightBlocks
        * schedule.blockWeights(kernel: shape.window.kernel, lanes: lanes),
      fill: { Self.pack($0, into: $1, shape: shape, schedule: schedule, lanes: lanes) },
      kernelName: "pack_direct_f32_\(shape.window.kernel[0])x\(shape.window.kernel[1])_"
        + "\(shape.channels)to\(shape.outputs)_\(schedule.tileBlocks)_by_\(schedule.chunk)",
      algorithm: "weights into the convolution's order, threads split output and input blocks",
      units: schedule.groups * schedule.inputBlocks, template: Templates.packDirect,
      values: packingValues)
  }

  /// [outputs, channels / groups, kernel height, kernel width] →
  /// [chunk][output group][input block][kernel height][kernel width][input channel][tile block][lane],
  /// zero for lanes past the last output, channels past the last, and channels of other groups.
  private static func pack(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, shape: ConvolutionShape,
    schedule: DirectSchedule, lanes: Int
  ) {
    let (kernelHeight, kernelWidth) = (shape.window.kernel[0], shape.window.kernel[1])
    let taps = kernelHeight * kernelWidth
    let inputBlock = schedule.inputBlock
    weights.withUnsafeBufferPointer { weights in
      var position = 0
      for chunk in stride(from: 0, to: schedule.inputBlocks, by: schedule.chunk) {
        let chunkEnd = min(schedule.inputBlocks, chunk + schedule.chunk)
        for group in 0..<schedule.groups {
          let firstBlock = group * schedule.tileBlocks
          let blocks = min(schedule.tileBlocks, schedule.outputBlocks - firstBlock)
          let firstInput = schedule.windows?.first[group] ?? 0
          let blocksEnd = min(chunkEnd, schedule.windows?.counts[group] ?? chunkEnd)
          for block in chunk..<max(chunk, blocksEnd) {
            for tap in 0..<taps {
              for inner in 0..<inputBlock {
                let channel = (firstInput + block) * inputBlock + inner
                for lane in 0..<(blocks * lanes) {
                  let output = firstBlock * lanes + lane
                  if output < shape.outputs {
                    let local = channel - output / shape.outputsPerGroup * shape.channelsPerGroup
                    if local >= 0 && local < shape.channelsPerGroup {
                      packed[position] =
                        weights[(output * shape.channelsPerGroup + local) * taps + tap]
                    }
                  }
                  position += 1
                }
              }
            }
          }
        }
      }
    }
  }

  private var packingValues: [String: String] {
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
    return values
  }
}
