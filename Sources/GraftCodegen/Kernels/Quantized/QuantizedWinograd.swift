// Convolutions of bytes by Winograd's algorithm with products of bfloat16: a quarter of the products, each twice as fast
// as one of float32, where four of bytes are one instruction.

import GraftDiagnostics
import GraftIR
import GraftOps

extension QuantizedConvolutionNode {
  /// The schedules by Winograd's algorithm; none where it is not applicable, or the target has no products of bfloat16.
  func transformed(
    _ variant: ConvolutionVariant?, _ context: SelectionContext
  ) -> [any KernelSchedule] {
    guard target.hasHalfDot, x.block == lanes, let taps = WinogradSchedule.taps(of: shape) else {
      return []
    }
    // Transforms of larger tiles lose more than bfloat16 has.
    let algorithms = variant.map { [$0.algorithm] } ?? [.winograd4]
    return algorithms.compactMap { $0.transform(taps: taps) }.map { transform in
      QuantizedWinograd(
        convolution: self,
        schedule: WinogradSchedule(
          shape, transform: transform, variant, images: y.images, target: target),
        images: context.count(y.images))
    }
  }
}

struct QuantizedWinograd: MeasuredKernel {
  let convolution: QuantizedConvolutionNode
  let schedule: WinogradSchedule
  /// The batch size, or a typical one.
  let images: Int

  private var lanes: Int { convolution.lanes }
  private var shape: ConvolutionShape { convolution.shape }

  var algorithm: ConvolutionAlgorithm { schedule.transform.step == 2 ? .winograd2 : .winograd4 }
  var identity: AnyHashable { schedule }
  var site: ConvolutionSite? { convolution.site }
  var arithmetic: DataType? { .bfloat16 }

  var summary: String { schedule.description(lanes: lanes) + ", products of bfloat16" }

  /// Half of the products' time.
  var cost: Double {
    let target = convolution.target
    let whole = ConvolutionCost.winograd(schedule, images: images, target: target)
    let products =
      Double(schedule.weightFloats(lanes: lanes)) / Double(lanes) * Double(schedule.tiles)
    return max(whole - products / 2, whole / 2)
  }

  var scratchBytes: Int {
    (schedule.scratchFloats(lanes: lanes) * MemoryLayout<Float>.size + 63) / 64 * 64
  }

  var workShape: WorkShape { schedule.workShape(shape) }

  private var units: WorkUnits {
    schedule.splitsTiles
      ? WorkUnits(schedule.tiles, times: convolution.y.images) : WorkUnits(fixed: schedule.sets)
  }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let (sum, y) = (convolution.sum, convolution.y)
    let kernel = try program.library.add(
      "conv_u8_\(shape.windowName)_winograd\(schedule.transform.step)_\(shape.channels)to"
        + "\(shape.outputs)_\(shape.height)x\(shape.width)_\(schedule.groupBlocks)x"
        + "\(schedule.groupTiles)" + sum.suffix,
      algorithm: summary
    ) { name in try Templates.convolutionWinograd.render(templateValues(name)) }
    let padded = y.blocks * lanes
    var arguments = [
      try program.bytes(sum.input),
      "(const half *)(const void *)" + (try packed(&program)),
      try program.channelVector(asFloats: sum.bias, count: shape.outputs, padded: padded),
      try program.channelVector(sum.multiplier, count: shape.outputs, padded: padded),
    ]
    if let addend = sum.addend {
      arguments.append(sum.addsBytes ? try program.bytes(addend) : try program.address(addend))
    }
    arguments.append(
      sum.element == "byte"
        ? try program.bytes(sum.output, isConst: false) : try program.address(sum.output))
    program.emit(
      kernel, arguments + [y.images.expression, "scratch"], units: units, shape: workShape,
      site: site)
  }

  private func templateValues(_ name: String) -> [String: String] {
    let (sum, zero) = (convolution.sum, convolution.sum.xZero)
    var values = sum.templateValues(
      added: "added + i * \(convolution.residual?.row ?? 0) + j * LANES",
      loads: ("from_bytes", "load"))
    values["residual_argument"] = values["added_argument"]
    values["residual_pass"] = sum.addend == nil ? "" : "residual, "
    values["residual_tile"] =
      convolution.residual.map {
        "const \(sum.addsBytes ? "byte" : "float") *added = residual + block * \($0.plane) + "
          + "\($0.origin)\n    + row * \($0.row) + column * LANES;"
      } ?? ""
    let half = [
      "banner": convolution.banner + "\n * " + CText.wrapped(summary) + ".", "name": name,
      "x_scalar": "byte", "y_scalar": sum.element, "v_scalar": "half", "w_vector": "vi",
      "v_vector": "vi", "store_v": "store_halves", "load_w": "load_twos", "load_v": "splat_two",
      // Past the border everything is zero; inside it bytes stand for numbers.
      "load_x": zero == 0 ? "from_bytes" : "\(CText.float(Double(-zero))) + from_bytes",
      "add_product": "sum[o][p] = dot_of_two(sum[o][p], value, weight[o]);",
      "inputs_together": "2", "factor_parameter": "vf factor,",
      "multiplier_parameter": "const float *multiplier,",
      "factor": "const vf factor = load(multiplier + (plane + o) * LANES);",
      "factor_argument": "factor, ", "multiplier_argument": "multiplier, ",
      "multiply": "value = value * factor;",
    ]
    return convolution.commonValues.merging(
      schedule.templateValues(shape, x: convolution.x, lanes: lanes)
    ) {
      $1
    }.merging(values) { $1 }.merging(half) { $1 }
  }

  /// Transformed weights as bfloat16, pairs of inputs side by side in every lane.
  private func packed(_ program: inout Lowering) throws -> String {
    let source = try program.data(of: convolution.sum.weight)
    let order = schedule.weightOrder(shape, lanes: lanes)
    return program.packedConstant(
      [convolution.sum.weight], form: order.form + " of bfloat16",
      floatCount: (order.floatCount + 1) / 2
    ) { packed in
      let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: order.floatCount)
      defer { floats.deallocate() }
      floats.initialize(repeating: 0)
      try order.panels.pack(source.floats(), into: floats, lanes: lanes)
      let bytes = UnsafeMutableRawBufferPointer(packed)
      bytes.withMemoryRebound(to: UInt16.self) { pack(floats, $0) }
    }
  }

  /// Rows of one group of outputs come two by two.
  private func pack(
    _ floats: UnsafeMutableBufferPointer<Float>, _ halves: UnsafeMutableBufferPointer<UInt16>
  ) {
    var row = 0
    for set in stride(from: 0, to: schedule.outputBlocks, by: schedule.setBlocks) {
      let blocks = min(schedule.setBlocks, schedule.outputBlocks - set)
      for _ in 0..<schedule.points {
        for group in stride(from: 0, to: blocks, by: schedule.groupBlocks) {
          let width = min(schedule.groupBlocks, blocks - group) * lanes
          for _ in stride(from: 0, to: schedule.inputBlocks * lanes, by: 2) {
            for lane in 0..<width {
              halves[row + 2 * lane] = floats[row + lane].bfloat16Bits
              halves[row + 2 * lane + 1] = floats[row + width + lane].bfloat16Bits
            }
            row += 2 * width
          }
        }
      }
    }
  }
}

extension Target {
  /// Whether one instruction sums two products of bfloat16 in every lane, and as fast as one of float32. Where there
  /// are tiles it takes twice as long.
  var hasHalfDot: Bool { requiredFeatures.contains("avx512bf16") && !hasTiles }
}

extension Lowering {
  /// The address of one float for each of `count` integers.
  fileprivate mutating func channelVector(
    asFloats value: ValueID, count: Int, padded: Int
  ) throws -> String {
    let source = try data(of: value)
    return packedConstant([value], form: "vector \(padded) as floats", floatCount: padded) {
      WeightPacking.vector(source.floats(), into: $0)
    }
  }
}
