// The order of the weights of direct convolutions.

import GraftIR
import GraftOps

extension DirectConvolution {
  /// [outputs, channels / groups, kernel height, kernel width] →
  /// [chunk][output group][input block][kernel height][kernel width][input channel][tile block][lane],
  /// zero for lanes past the last output, channels past the last, and channels of other groups.
  var weightOrder: WeightOrder {
    let window = shape.window
    return WeightOrder(
      form: "direct \(schedule.packedForm) in \(shape.groups) groups",
      floatCount: schedule.weightBlocks
        * schedule.blockWeights(kernel: window.kernel, lanes: lanes),
      lanes: lanes, panels: panels,
      kernelName: "pack_direct_f32_\(window.kernel[0])x\(window.kernel[1])_"
        + "\(shape.channels)to\(shape.outputs)_\(schedule.tileBlocks)_by_\(schedule.chunk)",
      algorithm: "weights into the convolution's order, threads split output and input blocks",
      banner: "Packs weights [\(shape.outputs), \(shape.channelsPerGroup), "
        + "\(window.kernel[0]), \(window.kernel[1])] for a direct convolution, groups "
        + "\(shape.groups).")
  }

  /// A panel is one block of inputs for one group of output blocks.
  private var panels: WeightPanels {
    let (inputBlocks, outputBlocks) = (schedule.inputBlocks, schedule.outputBlocks)
    let blockWeights = schedule.blockWeights(kernel: shape.window.kernel, lanes: lanes)
    let unit = IndexExpression.name("unit")
    var (steps, tables) = (IndexSteps(), [IndexTable]())
    let group = steps.add("group", unit / inputBlocks)
    let block = steps.add("block", unit % inputBlocks)
    let plane = steps.add("plane", group * schedule.tileBlocks)
    let blocks = steps.add("blocks", .smaller(schedule.tileBlocks, outputBlocks - plane))
    steps.add("width", blocks * lanes)
    steps.add("first_output", plane * lanes)
    var (firstBlock, bound) = (block, nil as (IndexExpression, IndexExpression)?)
    if let windows = schedule.windows {
      tables.append(IndexTable(name: "first_block", elements: windows.first))
      firstBlock = .element(tables[0], group) + block
    }
    steps.add("first_input", firstBlock * schedule.inputBlock)
    if let windows = schedule.windows, !windows.isUniform {
      // If groups read different numbers of blocks, there is only one chunk.
      let counts = IndexTable(name: "window", elements: windows.counts)
      let before = IndexTable(
        name: "first_weights", elements: Array(schedule.weightBlocksBefore.dropLast()))
      tables += [counts, before]
      bound = (block, .element(counts, group))
      steps.add("place", (.element(before, group) + block * blocks) * blockWeights)
    } else {
      let chunk = steps.add("chunk", block / schedule.chunk * schedule.chunk)
      let depth = steps.add("depth", .smaller(schedule.chunk, inputBlocks - chunk))
      let pairs = chunk * outputBlocks + depth * plane + (block - chunk) * blocks
      steps.add("place", pairs * blockWeights)
    }
    return WeightPanels(
      count: schedule.groups * inputBlocks, steps: steps, tables: tables, bound: bound,
      endOutput: .number(shape.outputs),
      contents: .copies(
        taps: shape.window.kernel[0] * shape.window.kernel[1], inputs: schedule.inputBlock,
        source: .channels(
          groupOutputs: shape.outputsPerGroup, groupChannels: shape.channelsPerGroup)))
  }
}
