// Products of a matrix of bytes with constant weights.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let quantizedProduct = KernelFamily(
    name: "quantized product",
    rules: [
      .serving(QuantizedGemm.self) { operation, node, context in
        [try QuantizedProduct(operation, node, context)]
      }
    ])
}

struct QuantizedProduct: KernelSchedule {
  private let sum: QuantizedSum
  private let rows: Dimension
  private let depth: Int
  private let outputs: Int
  private let lanes: Int
  private let tileBlocks: Int
  private let tileRows: Int
  private let dotTime: Double

  init(_ operation: QuantizedGemm, _ node: Node, _ context: SelectionContext) throws {
    sum = try QuantizedSum(
      node, xZero: operation.xZero, operation.requantization, context)
    let shape = context.type(sum.output).shape
    guard let outputs = shape[1].constant, let depth = context.type(sum.input).shape[1].constant,
      depth.isMultiple(of: 4)
    else {
      throw GraftError(
        .unsupported, "no kernel multiplies \(context.type(sum.input)) by bytes",
        advice: "The depth must be a multiple of 4.")
    }
    rows = shape[0]
    (self.depth, self.outputs, lanes) = (depth, outputs, context.target.lanes)
    let blocks = (outputs + lanes - 1) / lanes
    (tileBlocks, tileRows) = RegisterTile.chooseForBytes(
      outputBlocks: blocks, target: context.target)
    dotTime = context.target.byteDotTime
  }

  private var groups: Int { (outputs + tileBlocks * lanes - 1) / (tileBlocks * lanes) }
  private var padded: Int { groups * tileBlocks * lanes }

  var summary: String {
    "tile of \(tileBlocks * lanes) outputs x \(tileRows) rows, threads split \(groups) groups of "
      + "outputs"
  }

  var cost: Double {
    Double(rows.coefficient) * Double(padded / lanes) * Double(depth / 4) * dotTime
  }

  var arithmetic: DataType? { .int8 }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let kernel = try program.library.add(
      "product_u8_\(depth)to\(outputs)_\(tileBlocks)x\(tileRows)" + sum.suffix, algorithm: summary
    ) { name in
      var values = sum.templateValues(
        added: "added + at, count", loads: ("from_bytes_part", "load_part"))
      if sum.addend != nil { values["added_argument"] = "residual + at, " }
      // Inside the tile the residual begins at its first row.
      values["prefetch"] =
        "__builtin_prefetch(w + OB * 4 * LANES * 16, 0, 2);"
      return try Templates.quantizedProduct.render(
        values.merging([
          "banner": CText.wrapped(
            "x [rows, \(depth)] of bytes with zero point \(sum.xZero) times weights [\(outputs), "
              + "\(depth)], activation \(sum.requantization.activation).") + "\n * "
            + CText.wrapped(summary) + ".",
          "name": name, "tile_blocks": "\(tileBlocks)", "tile_rows": "\(tileRows)",
          "depth": "\(depth)", "outputs": "\(outputs)",
        ]) { $1 })
    }
    let packed = try program.packedBytes(
      sum.weight, form: "int8 matrix by \(tileBlocks) of \(lanes)", byteCount: padded * depth,
      fill: pack)
    try program.emit(
      kernel,
      program.arguments(of: sum, packed: packed, outputs: outputs, padded: padded)
        + [rows.expression], units: WorkUnits(fixed: groups))
  }

  /// [outputs, depth] → [output group][four inputs][output block][lane][input of the four].
  private func pack(_ source: UnsafeRawBufferPointer, _ packed: UnsafeMutableRawBufferPointer) {
    let width = tileBlocks * lanes
    for output in 0..<outputs {
      let start = output / width * width * depth + output % width * 4
      for k in 0..<depth {
        packed[start + k / 4 * width * 4 + k % 4] = source[output * depth + k]
      }
    }
  }
}

extension Templates {
  static let quantizedProduct = Template(
    "quantized_product.c", PackageResources.quantized_product_c_in)
}
