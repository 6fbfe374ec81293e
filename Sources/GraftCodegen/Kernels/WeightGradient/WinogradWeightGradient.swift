// The gradient of 3x3 weights by Winograd's algorithm: a step that sums the points, and one that transforms
// them back.

import GraftIR
import GraftOps

struct WinogradWeightGradient: WeightGradientKernel {
  let node: WeightGradientNode
  let schedule: WinogradGradientSchedule

  /// Winograd's algorithm with the transform that is preferred; without one with that which takes the least
  /// time, if it saves at least a tenth; nil if it does not, or cannot do the work.
  init?(_ node: WeightGradientNode, _ preferred: ConvolutionAlgorithm? = nil) {
    let (shape, target, images) = (node.shape, node.target, node.images)
    guard !node.isPlanar, WinogradSchedule.taps(of: shape) == 3 else { return nil }
    let inputBlocks = (shape.channels + target.lanes - 1) / target.lanes
    let tile = BlockedWeightGradientSchedule.tile(
      groupBlocks: inputBlocks, inputBlock: target.lanes, kernelWidth: 1, target: target)
    let candidates = (preferred.map { [$0] } ?? ConvolutionAlgorithm.allCases)
      .compactMap { $0.transform(taps: 3) }.map {
        WinogradGradientSchedule(
          shape, transform: $0, tileBlocks: tile.blocks, tileOutputs: tile.channels,
          images: images, target: target)
      }
    func cost(_ schedule: WinogradGradientSchedule) -> Double {
      schedule.cost(images: images, lanes: target.lanes)
    }
    let direct = ConvolutionCost.direct(shape, target: target) * Double(images)
    guard let best = candidates.min(by: { cost($0) < cost($1) }),
      preferred != nil || cost(best) < (1 - ConvolutionCost.leastGain) * direct
    else { return nil }
    self.node = node
    schedule = best
  }

  var summary: String { schedule.description(lanes: lanes) }
  var cost: Double { schedule.cost(images: node.images, lanes: lanes) / Double(node.images) }

  var scratchBytes: Int {
    (schedule.scratchFloats(lanes: lanes) * MemoryLayout<Float>.size + 63) / 64 * 64
  }

  var units: Int { schedule.units }
  var form: String { "_winograd\(schedule.transform.step)" }
  var template: Template { Templates.weightGradientWinograd }

  func emit(_ graphNode: Node, into program: inout Lowering) throws {
    let kernel = try kernel(in: program.library)
    let results = program.workspace(floats: schedule.resultFloats(lanes: lanes))
    try program.emit(
      kernel,
      [
        program.address(node.input), program.address(node.gradient), results,
        node.dy.images.expression, "scratch",
      ], units: WorkUnits(fixed: units))
    let finish = try program.library.add(
      "winograd\(schedule.transform.step)_gradient_finish_f32_\(shape.channels)to\(shape.outputs)",
      algorithm: "one channel for each lane, threads split outputs",
      render: { try renderFinish(name: $0) })
    try program.emit(
      finish, [results, program.address(node.output)], units: WorkUnits(fixed: shape.outputs))
  }

  var templateValues: [String: String] {
    let (transform, x) = (schedule.transform, node.x)
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
      "tile_columns": "\(schedule.tiling.tileColumns)", "tiles": "\(schedule.tiles)",
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

  private func renderFinish(name: String) throws -> String {
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
}

extension Templates {
  static let weightGradientWinograd = Template(
    "convolution_weight_gradient_winograd.c",
    PackageResources.convolution_weight_gradient_winograd_c_in)
  static let winogradGradientFinish = Template(
    "winograd_gradient_finish.c", PackageResources.winograd_gradient_finish_c_in)
}
