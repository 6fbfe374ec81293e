// What the schedules of a convolution's weight gradient share: what they read from a node, how they become a step,
// and the values that all their templates ask for.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let weightGradient = KernelFamily(
    name: "weight_gradient",
    rules: [
      .serving(ConvolutionWeightGradient.self) { operation, node, context in
        let gradient = try WeightGradientNode(operation, node, context)
        return [try gradient.schedule(preferring: context.preferences.algorithm)]
      }
    ])
}

/// The gradient of a convolution's weights: x, dy → dw in plain order. Where dy is blocked the border of x must
/// hold the pads.
struct WeightGradientNode {
  let input: ValueID
  let gradient: ValueID
  let output: ValueID
  let shape: ConvolutionShape
  let x: ImageGeometry
  let dy: ImageGeometry
  let target: Target
  /// Those of a batch, or what is typical.
  let images: Int

  init(
    _ operation: ConvolutionWeightGradient, _ node: Node, _ context: SelectionContext
  ) throws {
    input = try node.requiredOperand(0)
    gradient = try node.requiredOperand(1)
    output = try node.requiredResult()
    try context.graph.requireFloat([input, gradient, output])
    x = try ImageGeometry(context.type(input))
    dy = try ImageGeometry(context.type(gradient))
    target = context.target
    images = context.count(dy.images)
    shape = ConvolutionShape(
      channels: x.channels, height: x.height, width: x.width, outputs: dy.channels,
      resultHeight: dy.height, resultWidth: dy.width, window: operation.window,
      groups: operation.groups)
    guard context.type(output).layout.isPlain else {
      throw GraftError(.inconsistency, "weights are plain, found \(context.type(output))")
    }
    if dy.block > 1 {
      try ImageGeometry.check(x: x, y: dy, window: operation.window, lanes: target.lanes)
    }
  }

  init(
    shape: ConvolutionShape, x: ImageGeometry, dy: ImageGeometry, images: Int, target: Target,
    values: (input: ValueID, gradient: ValueID, output: ValueID)
  ) {
    (input, gradient, output) = values
    (self.shape, self.x, self.dy, self.images, self.target) = (shape, x, dy, images, target)
  }

  /// The schedule that costs least among those that can do the work.
  func schedule(
    preferring algorithm: ConvolutionAlgorithm? = nil
  ) throws -> any WeightGradientKernel {
    if isPlain { return try PlainWeightGradient(self) }
    if let winograd = WinogradWeightGradient(self, algorithm) { return winograd }
    if let blocked = BlockedWeightGradient(self) { return blocked }
    return LanesWeightGradient(self)
  }

  var lanes: Int { target.lanes }
  /// Whether x has channel block 1.
  var isPlanar: Bool { x.block == 1 }
  /// Whether the result's gradient has.
  var isPlain: Bool { dy.block == 1 }
}

/// A schedule of the gradient of a convolution's weights.
protocol WeightGradientKernel: KernelSchedule {
  var node: WeightGradientNode { get }
  /// Between the kernel's window and its channels in the C function's name.
  var form: String { get }
  var template: Template { get }
  /// The values that `template` needs in addition to ``commonValues``.
  var templateValues: [String: String] { get }
  /// Independent units of work, whatever the batch.
  var units: Int { get }
}

extension WeightGradientKernel {
  var shape: ConvolutionShape { node.shape }
  var lanes: Int { node.lanes }

  var cost: Double {
    ConvolutionCost.direct(shape, target: node.target)
  }

  func emit(_ graphNode: Node, into program: inout Lowering) throws {
    let kernel = try kernel(in: program.library)
    try program.emit(
      kernel,
      [
        program.address(node.input), program.address(node.gradient),
        program.address(node.output), node.dy.images.expression,
      ], units: WorkUnits(fixed: units))
  }

  func kernel(in library: KernelLibrary) throws -> Kernel {
    try library.add(
      kernelName, algorithm: summary,
      render: { name in
        try template.render(
          commonValues.merging(templateValues) { $1 }.merging(["name": name]) { $1 })
      })
  }

  private var kernelName: String {
    let window = shape.window
    let step = window.strides == [1, 1] ? "" : "_s\(window.strides[0])x\(window.strides[1])"
    let groups = shape.groups > 1 ? "_g\(shape.groups)" : ""
    return "conv_gradient_f32_\(window.kernel[0])x\(window.kernel[1])\(step)\(groups)\(form)"
      + "_\(shape.channels)to\(shape.outputs)_\(shape.height)x\(shape.width)"
  }

  private var banner: String {
    let window = shape.window
    let text = """
      Gradient of weights [\(shape.outputs), \(shape.channelsPerGroup), \(window.kernel[0]), \
      \(window.kernel[1])] of a convolution [\(shape.channels), \(shape.height), \
      \(shape.width)] -> [\(shape.outputs), \(shape.resultHeight), \(shape.resultWidth)], \
      strides \(window.strides), pads \(window.pads), dilations \(window.dilations), groups \
      \(shape.groups), float32 throughout.
      """
    return CText.wrapped(text) + "\n * " + CText.wrapped(summary) + "."
  }

  /// What the templates share.
  private var commonValues: [String: String] {
    let (x, dy) = (node.x, node.dy)
    return [
      "banner": banner,
      "outputs": "\(shape.outputs)", "group_outputs": "\(shape.outputsPerGroup)",
      "group_channels": "\(shape.channelsPerGroup)", "height": "\(dy.height)",
      "width": "\(dy.width)", "input_block": "\(x.block)", "dy_image": "\(dy.image)",
      "dy_plane": "\(dy.plane)", "dy_row": "\(dy.row)", "dy_origin": "\(dy.origin)",
    ].merging(shape.windowValues(over: x)) { $1 }
  }
}
