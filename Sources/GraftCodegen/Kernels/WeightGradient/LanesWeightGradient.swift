// The gradient of weights, one vector of outputs at a time and one channel per lane: for depthwise
// convolutions and groups that are not whole blocks.

import GraftIR
import GraftOps

/// One vector of outputs at a time and one channel per lane: for depthwise convolutions and groups that are
/// not whole blocks.
struct LanesWeightGradientSchedule: Hashable {
  var blocks: Int
  /// Channels that each output reads.
  var groupChannels: Int
  /// Rows of the kernel of one unit.
  var setRows: Int
  var rowSets: Int

  var units: Int { blocks * groupChannels * rowSets }
}

extension LanesWeightGradientSchedule {
  init(_ shape: ConvolutionShape, target: Target) {
    let (height, width) = (shape.window.kernel[0], shape.window.kernel[1])
    let most = max(1, target.registers - 4)
    let rows = (1...height).last { height.isMultiple(of: $0) && $0 * width <= most } ?? 1
    self.init(
      blocks: (shape.outputs + target.lanes - 1) / target.lanes,
      groupChannels: shape.channelsPerGroup, setRows: rows, rowSets: height / rows)
  }
}

struct LanesWeightGradient: WeightGradientKernel {
  let node: WeightGradientNode
  let schedule: LanesWeightGradientSchedule

  init(_ node: WeightGradientNode) {
    self.node = node
    schedule = LanesWeightGradientSchedule(node.shape, target: node.target)
  }

  var summary: String {
    "one channel for each lane, \(schedule.setRows * shape.window.kernel[1]) weights at a time, "
      + "threads split \(schedule.units) parts of the weights"
  }

  var units: Int { schedule.units }
  var form: String { "_lanes" }
  var template: Template { Templates.weightGradientLanes }

  var templateValues: [String: String] {
    // A depthwise convolution's lanes lie side by side.
    let isContiguous = shape.isDepthwise && node.x.block == lanes
    return [
      "set_rows": "\(schedule.setRows)",
      "load": isContiguous
        ? "value = load(at + places[0]);"
        : "for (int lane = 0; lane < LANES; lane++) value[lane] = at[places[lane]];",
    ]
  }
}

extension Templates {
  static let weightGradientLanes = Template(
    "convolution_weight_gradient_lanes.c", PackageResources.convolution_weight_gradient_lanes_c_in)
}
