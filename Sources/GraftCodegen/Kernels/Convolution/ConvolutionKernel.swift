// Shared code of the convolution families: how a schedule becomes a step, and the common template values.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A schedule with variants that are worth measuring.
protocol MeasuredKernel: KernelSchedule {
  /// All decisions; equal for equivalent variants.
  var identity: AnyHashable { get }
  /// Its key in measurements.
  var algorithm: ConvolutionAlgorithm { get }
}

/// A schedule of a convolution of float32.
protocol ConvolutionKernel: MeasuredKernel {
  var convolution: ConvolutionNode { get }
  /// The C function's name.
  var kernelName: String { get }
  var template: Template { get }
  /// The template values in addition to ``commonValues``.
  var templateValues: [String: String] { get }
  var weightOrder: WeightOrder { get }
  /// Independent units of work of a batch.
  var units: WorkUnits { get }
  /// Arguments after the result.
  var lastArguments: [String] { get }
}

extension ConvolutionKernel {
  var lastArguments: [String] { [] }
  var algorithm: ConvolutionAlgorithm { .direct }
  var shape: ConvolutionShape { convolution.shape }
  var lanes: Int { convolution.lanes }
  var site: ConvolutionSite? { convolution.site }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let y = convolution.y
    let kernel = try program.library.add(
      kernelName, algorithm: summary,
      render: { name in
        try template.render(
          commonValues.merging(templateValues) { $1 }.merging(["name": name]) { $1 })
      })
    let packed = try program.packed(convolution.weight, weightOrder)
    // Whole vectors, and for plain images whole sets.
    let bias = try program.channelVector(
      convolution.bias, count: shape.outputs,
      padded: convolution.isPlain ? shape.outputs + 3 : y.blocks * lanes)
    var arguments = [try program.address(convolution.input), packed, bias]
    if let addend = convolution.addend { arguments.append(try program.address(addend)) }
    arguments.append(try program.address(convolution.output))
    program.emit(
      kernel, arguments + lastArguments, units: units, shape: workShape, site: site)
  }

  // MARK: Names

  var windowName: String { shape.windowName }
  var groupsName: String { shape.groups > 1 ? "_g\(shape.groups)" : "" }
  var sizeName: String { "_\(shape.height)x\(shape.width)" }

  /// The fused operators.
  var suffix: String {
    (convolution.residual == nil ? "" : "_residual") + convolution.activation.nameSuffix
  }

  private var banner: String {
    let window = shape.window
    let text = """
      Convolution [\(shape.channels), \(shape.height), \(shape.width)] -> \
      [\(shape.outputs), \(shape.resultHeight), \(shape.resultWidth)], kernel \(window.kernel), \
      strides \(window.strides), pads \(window.pads), dilations \(window.dilations), \
      groups \(shape.groups)\(convolution.residual == nil ? "" : ", adds a residual"), activation \
      \(convolution.activation), float32 throughout.
      """
    return CText.wrapped(text) + "\n * " + CText.wrapped(summary) + "."
  }

  /// The common template values.
  private var commonValues: [String: String] {
    let y = convolution.y
    return [
      "banner": banner,
      "height": "\(y.height)", "width": "\(y.width)", "output_blocks": "\(y.blocks)",
      "y_plane": "\(y.plane)", "y_row": "\(y.row)", "y_origin": "\(y.origin)",
      "y_border_height": "\(y.borderHeight)", "y_border_width": "\(y.borderWidth)",
      "activation": convolution.activation.expression("value"),
      "residual_parameter": convolution.residual == nil ? "" : "const float *residual,",
    ].merging(shape.windowValues(over: convolution.x)) { $1 }
  }
}
