// The gradient of weights in register tiles of outputs × weights, summed over strips of pixels.

import GraftIR
import GraftOps

struct BlockedWeightGradient: WeightGradientKernel {
  let node: WeightGradientNode
  let schedule: BlockedWeightGradientSchedule

  /// nil if groups are no whole blocks of channels.
  init?(_ node: WeightGradientNode) {
    let shape = node.shape
    guard
      shape.groups == 1
        || (shape.outputsPerGroup.isMultiple(of: node.lanes)
          && (node.isPlanar || shape.channelsPerGroup.isMultiple(of: node.lanes)))
    else { return nil }
    self.node = node
    schedule = BlockedWeightGradientSchedule(
      shape, xRow: node.x.row, isPlanar: node.isPlanar, target: node.target)
  }

  var summary: String {
    "tile of \(schedule.tileBlocks * lanes) outputs x \(schedule.tileChannels) channels x "
      + "\(schedule.tileColumns) columns, summed over \(schedule.stripRows) rows of "
      + "\(schedule.stripImages) images at a time, threads split \(schedule.units) parts of the "
      + "weights"
  }

  var units: Int { schedule.units }
  var form: String { schedule.inputBlock == 1 ? "_planar" : "" }
  var template: Template { Templates.weightGradient }

  var templateValues: [String: String] {
    let narrow = schedule.wideParts < schedule.parts ? 1 : 0
    return [
      "tile_blocks": "\(schedule.tileBlocks)", "tile_taps": "\(schedule.tileTaps)",
      "tile_channels": "\(schedule.tileChannels)", "tile_columns": "\(schedule.tileColumns)",
      "parts": "\(schedule.parts)", "wide_parts": "\(schedule.wideParts)",
      "narrow_taps": "\(schedule.tileChannels * (schedule.tileColumns - narrow))",
      "set_blocks": "\(schedule.setBlocks)", "sets": "\(schedule.sets)",
      "set_rows": "\(schedule.setRows)", "strip_images": "\(schedule.stripImages)",
      "strip_rows": "\(schedule.stripRows)", "group_blocks": "\(schedule.groupBlocks)",
      "groups": "\(schedule.groups)", "full_groups": "\(schedule.fullGroups)",
      "last_group_blocks": "\(schedule.lastGroupBlocks)",
      // More pointers than this would not stay in registers themselves.
      "hide_pointer": schedule.tileColumns <= 6 ? "__asm__(\"\" : \"+r\"(from[k]));" : "",
    ]
  }
}

extension Templates {
  static let weightGradient = Template(
    "convolution_weight_gradient.c", PackageResources.convolution_weight_gradient_c_in)
}
