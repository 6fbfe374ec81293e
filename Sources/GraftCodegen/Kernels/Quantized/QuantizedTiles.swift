// Convolutions of bytes by products of tiles (AMX).

import GraftDiagnostics
import GraftIR
import GraftOps

struct QuantizedTiles: MeasuredKernel {
  let convolution: QuantizedConvolutionNode
  private let schedule: TileSchedule

  /// Nil where there is no ``TileSchedule``.
  init?(_ convolution: QuantizedConvolutionNode, _ variant: ConvolutionVariant?) {
    guard
      let schedule = TileSchedule(
        convolution.shape, x: convolution.x, y: convolution.y, residual: convolution.residual,
        factorBytes: 1, converts: false, variant, target: convolution.target)
    else { return nil }
    (self.convolution, self.schedule) = (convolution, schedule)
  }

  var summary: String { schedule.summary }
  var cost: Double { schedule.cost }
  var arithmetic: DataType? { .int8 }
  var site: ConvolutionSite? { convolution.site }
  var algorithm: ConvolutionAlgorithm { .matrixTiles }
  var identity: AnyHashable { schedule }
  var scratchBytes: Int { schedule.scratchBytes }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let (sum, shape) = (convolution.sum, convolution.shape)
    let kernel = try program.library.add(
      "conv_u8_\(shape.windowName)_tiles\(convolution.x.block == convolution.lanes ? "" : "_few")_"
        + "\(shape.channels)to\(shape.outputs)_\(shape.height)x\(shape.width)_"
        + "\(schedule.tilePixels)" + sum.suffix,
      algorithm: summary
    ) { name in try Templates.convolutionTiles.render(values(name)) }
    let packed = try program.packedBytes(
      sum.weight, form: "int8 " + schedule.form, byteCount: schedule.weightBytes
    ) { source, packed in
      schedule.pack { packed[$1] = source[$0] }
    }
    let arguments = try program.arguments(
      of: sum, packed: packed, outputs: shape.outputs,
      padded: convolution.y.blocks * convolution.lanes)
    program.emit(
      kernel, arguments + (schedule.gathers ? ["scratch"] : []), units: schedule.units, site: site)
  }

  private func values(_ name: String) throws -> [String: String] {
    let sum = convolution.sum
    var values = sum.templateValues(added: TileSchedule.added, loads: ("from_bytes", "load"))
    values["added_member"] =
      sum.addend == nil ? "" : "const \(sum.addsBytes ? "byte" : "float") *added;"
    return try schedule.templateValues(
      name, xType: "byte",
      gather: ["factor_type": "byte", "move": "store_bytes", "load": "load_bytes"]
    ).merging(values) { $1 }.merging([
      "banner": convolution.banner + "\n * " + CText.wrapped(summary) + ".",
      "sum_type": "int", "product": "__builtin_ia32_tdpbusd",
      "sum_value": "__builtin_convertvector(load_ints(tile->sum[pixel + p]), vf) * factor",
      "load_factor": "const vf factor = load(tile->multiplier);",
      "multiplier_member": "const float *multiplier;",
      "multiplier_parameter": "const float *multiplier,",
      "multiplier_address": ".multiplier = multiplier + (plane + o) * LANES,",
    ]) { $1 }
  }
}
