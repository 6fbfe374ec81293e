// Convolutions of plain images.

import GraftIR
import GraftOps

/// Convolution of plain images to plain images: vectors of one row's pixels, for a few outputs at once. For
/// convolutions that are too small to justify layout conversions.
struct PlainSchedule: Hashable {
  /// Outputs that share loaded pixels; the last set of a group may have fewer.
  var outputsPerSet: Int
  var setsPerGroup: Int
  var sets: Int
  var rows: Int

  var unitsPerImage: Int { sets * rows }
}

extension PlainSchedule {
  init(_ shape: ConvolutionShape) {
    let outputs = min(4, shape.outputsPerGroup)
    let sets = (shape.outputsPerGroup + outputs - 1) / outputs
    self.init(
      outputsPerSet: outputs, setsPerGroup: sets, sets: sets * shape.groups,
      rows: shape.resultHeight)
  }
}

extension KernelFamily {
  static let plainConvolution = KernelFamily(
    name: "plain",
    rules: [
      .serving(Convolution.self) { operation, node, context in
        let convolution = try ConvolutionNode(operation, node, context)
        guard convolution.isPlain else { return [] }
        let schedule = PlainSchedule(convolution.shape)
        return [PlainConvolution(convolution: convolution, schedule: schedule)]
      }
    ])
}

struct PlainConvolution: ConvolutionKernel {
  let convolution: ConvolutionNode
  let schedule: PlainSchedule

  /// Products of one element of the result.
  private var products: Int {
    shape.channelsPerGroup * shape.window.kernel[0] * shape.window.kernel[1]
  }

  var summary: String {
    "plain, \(lanes) pixels of a row x \(schedule.outputsPerSet) outputs, threads split rows"
  }

  // Limited by loads: about the time of scalar products.
  var cost: Double { Double(products * shape.outputs) * Double(shape.resultPixels) }

  var units: WorkUnits { WorkUnits(schedule.unitsPerImage, times: convolution.y.images) }

  var kernelName: String {
    "conv_f32_\(windowName)\(groupsName)_plain_\(shape.channels)to\(shape.outputs)\(sizeName)"
      + suffix
  }

  var identity: AnyHashable { schedule }

  var template: Template { Templates.convolutionPlain }

  /// Floats of the weights of one set of outputs.
  private var setWeights: Int { products * schedule.outputsPerSet }

  var templateValues: [String: String] {
    let (window, x) = (shape.window, convolution.x)
    return [
      "stride_height": "\(window.strides[0])", "stride_width": "\(window.strides[1])",
      "dilation_height": "\(window.dilations[0])", "dilation_width": "\(window.dilations[1])",
      "pad_top": "\(window.pads[0])", "pad_left": "\(window.pads[1])",
      "x_height": "\(x.height)", "x_width": "\(x.width)", "x_row": "\(x.row)",
      "x_origin": "\(x.origin)", "group_channels": "\(shape.channelsPerGroup)",
      "group_outputs": "\(shape.outputsPerGroup)",
      "outputs_per_set": "\(schedule.outputsPerSet)", "sets_per_group": "\(schedule.setsPerGroup)",
      "sets": "\(schedule.sets)", "set_weights": "\(setWeights)",
      "add_residual": convolution.residual == nil
        ? ""
        : "value += lanes == LANES ? load(residual + place) : load_part(residual + place, lanes);",
    ]
  }

  /// [outputs, channels / groups, kernel height, kernel width] →
  /// [set of outputs][channel of the group][kernel height][kernel width][output of the set].
  var weightOrder: WeightOrder {
    let (set, groupOutputs) = (schedule.outputsPerSet, shape.outputsPerGroup)
    let unit = IndexExpression.name("unit")
    var steps = IndexSteps()
    let group = steps.add("group", unit / schedule.setsPerGroup)
    steps.add("width", .number(set))
    steps.add(
      "first_output", group * groupOutputs + unit % schedule.setsPerGroup * set)
    steps.add("place", unit * (products * set))
    return WeightOrder(
      form: "plain sets of \(set) in \(shape.groups) groups",
      floatCount: schedule.sets * set * products, lanes: lanes,
      panels: WeightPanels(
        count: schedule.sets, steps: steps, endOutput: (group + 1) * groupOutputs,
        contents: .copies(
          taps: products, inputs: 1, source: .outputs(output: products, tap: 1))),
      kernelName: "pack_plain_f32_\(products)to\(groupOutputs)_g\(shape.groups)",
      algorithm: "weights into sets of \(set) outputs, threads split sets",
      banner: "Packs \(products) weights of each of \(shape.outputs) outputs into sets of \(set).")
  }
}

extension Templates {
  static let convolutionPlain = Template(
    "convolution_plain.c", PackageResources.convolution_plain_c_in)
}
