// The order of weights that Winograd's algorithm reads.

import GraftIR
import GraftOps

extension WinogradConvolution {
  var weightOrder: WeightOrder { schedule.weightOrder(shape, lanes: lanes) }
}

extension WinogradSchedule {
  /// [outputs, channels, taps, taps] → [set of outputs][point][output group][input channel][block of the
  /// group][lane], transformed.
  func weightOrder(_ shape: ConvolutionShape, lanes: Int) -> WeightOrder {
    let (step, taps) = (transform.step, transform.taps)
    return WeightOrder(
      form: "winograd \(packedForm) \(lanes)",
      floatCount: weightFloats(lanes: lanes), lanes: lanes, panels: panels(shape, lanes: lanes),
      kernelName: "pack_winograd\(step)_\(taps)x\(taps)_f32_\(shape.channels)to\(shape.outputs)"
        + "_\(setBlocks)_by_\(groupBlocks)",
      algorithm: "weights transformed into the convolution's order, threads split output and input "
        + "blocks",
      banner:
        "Transforms weights [\(shape.outputs), \(shape.channels), \(taps), \(taps)] for Winograd's "
        + "\(transform.title).")
  }

  /// A panel is one block of outputs × one block of inputs.
  private func panels(_ shape: ConvolutionShape, lanes: Int) -> WeightPanels {
    let blockWeights = inputBlocks * lanes * lanes
    let unit = IndexExpression.name("unit")
    var steps = IndexSteps()
    let block = steps.add("block", unit / inputBlocks)
    let input = steps.add("input", unit % inputBlocks)
    let set = steps.add("set", block / setBlocks * setBlocks)
    let group = steps.add("group", block / groupBlocks * groupBlocks)
    let row = steps.add("row", .smaller(groupBlocks, outputBlocks - group) * lanes)
    steps.add("point", .smaller(setBlocks, outputBlocks - set) * blockWeights)
    let groupPlace = (set * points + (group - set)) * blockWeights
    steps.add("place", groupPlace + (block - group) * lanes + input * lanes * row)
    steps.add("width", .number(lanes))
    steps.add("first_output", block * lanes)
    steps.add("first_input", input * lanes)
    return WeightPanels(
      count: outputBlocks * inputBlocks, steps: steps, endOutput: .number(shape.outputs),
      contents: .transforms(transform, channels: shape.channels))
  }
}
