// Convolutions of float32 by products of tiles of bfloat16 (AMX): factors are rounded, sums are float32.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let halfTiles = KernelFamily(
    name: "tiles of bfloat16",
    rules: [
      .serving(Convolution.self) { operation, node, context in
        guard context.roundsFactors else { return [] }
        let convolution = try ConvolutionNode(operation, node, context)
        guard convolution.isBlocked else { return [] }
        let variant = context.preferences.variant(at: convolution.site)
        guard variant == nil || variant?.algorithm == .matrixTiles else { return [] }
        return [HalfTiles(convolution, variant, context)].compactMap { $0 }
      }
    ])
}

struct HalfTiles: MeasuredKernel {
  private let convolution: ConvolutionNode
  private let schedule: TileSchedule

  /// Nil for weights that are computed, and where there is no ``TileSchedule``.
  init?(
    _ convolution: ConvolutionNode, _ variant: ConvolutionVariant?, _ context: SelectionContext
  ) {
    guard context.graph[convolution.weight].parameter?.data != nil,
      let schedule = TileSchedule(
        convolution.shape, x: convolution.x, y: convolution.y, residual: convolution.residual,
        factorBytes: 2, converts: true, variant, target: convolution.target)
    else { return nil }
    (self.convolution, self.schedule) = (convolution, schedule)
  }

  var summary: String { schedule.summary + ", products of bfloat16" }
  var cost: Double { schedule.cost }
  var arithmetic: DataType? { .bfloat16 }
  var site: ConvolutionSite? { convolution.site }
  var algorithm: ConvolutionAlgorithm { .matrixTiles }
  var identity: AnyHashable { schedule }
  var scratchBytes: Int { schedule.scratchBytes }
  var workShape: WorkShape { WorkShape(weights: 0.5) }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let shape = convolution.shape
    let kernel = try program.library.add(
      "conv_bf16_\(shape.windowName)\(convolution.isPlanar ? "_planar" : "")_\(shape.channels)to"
        + "\(shape.outputs)_\(shape.height)x\(shape.width)_\(schedule.tilePixels)"
        + (convolution.residual == nil ? "" : "_residual") + convolution.activation.nameSuffix,
      algorithm: summary
    ) { name in try Templates.convolutionTiles.render(values(name)) }
    let source = try program.data(of: convolution.weight)
    let packed = program.packedConstant(
      [convolution.weight], form: "bfloat16 " + schedule.form,
      floatCount: (schedule.weightBytes + 3) / 4
    ) { packed in
      let numbers = source.floats()
      let bytes = UnsafeMutableRawBufferPointer(packed)
      schedule.pack {
        bytes.storeBytes(of: numbers[$0].bfloat16Bits, toByteOffset: $1, as: UInt16.self)
      }
    }
    var arguments = [
      try program.address(convolution.input), "(const byte *)(const void *)" + packed,
      try program.channelVector(
        convolution.bias, count: shape.outputs, padded: convolution.y.blocks * convolution.lanes),
    ]
    if let addend = convolution.addend { arguments.append(try program.address(addend)) }
    arguments += [try program.address(convolution.output), "scratch"]
    program.emit(
      kernel, arguments, units: schedule.units, shape: workShape, site: site)
  }

  private func values(_ name: String) throws -> [String: String] {
    let shape = convolution.shape
    let banner = """
      Convolution [\(shape.channels), \(shape.height), \(shape.width)] -> \
      [\(shape.outputs), \(shape.resultHeight), \(shape.resultWidth)], kernel \(shape.window.kernel), \
      strides \(shape.window.strides), pads \(shape.window.pads), dilations \
      \(shape.window.dilations), activation \(convolution.activation), factors rounded to bfloat16.
      """
    let hasResidual = convolution.residual != nil
    let activation = convolution.activation
    return try schedule.templateValues(
      name, xType: "float",
      gather: ["factor_type": "half", "move": "store_halves", "load": "load"]
    ).merging([
      "banner": CText.wrapped(banner) + "\n * " + CText.wrapped(summary) + ".",
      "element": "float", "sum_type": "float", "product": "__builtin_ia32_tdpbf16ps",
      "sum_value": "load(tile->sum[pixel + p])", "load_factor": "", "multiplier_member": "",
      "multiplier_parameter": "", "multiplier_address": "",
      "added_member": hasResidual ? "const float *added;" : "",
      "residual_parameter": hasResidual ? "const float *residual," : "",
      "add_residual": hasResidual ? "value += load(\(TileSchedule.added));" : "",
      "finish": activation == .none ? "" : "value = \(activation.expression("value"));",
      "store_four": "store_four", "limits": "", "fill_border": "fill_float_border",
    ]) { $1 }
  }
}
