// Products of float32 matrices with constant weights by tiles of bfloat16 (AMX): factors are rounded, sums are float32.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let halfProduct = KernelFamily(
    name: "product of bfloat16",
    rules: [
      .serving(Gemm.self) { operation, node, context in
        [HalfProduct(operation, node, context)].compactMap { $0 }
      },
      .serving(MatrixMultiply.self) { _, node, context in
        [HalfProduct(multiplying: node, context)].compactMap { $0 }
      },
    ])
}

/// y = activation(x · w + bias + residual) for x [rows, depth].
struct HalfProduct: KernelSchedule {
  private let input: ValueID
  private let weight: ValueID
  private var bias: ValueID?
  private var addend: ValueID?
  private let output: ValueID
  private let rows: Dimension
  private let depth: Int
  private let outputs: Int
  /// Whether the weights are [outputs, depth].
  private var isTransposed = false
  private var scale: Float = 1
  private var biasScale: Float = 1
  private var activation = Activation.none
  private let lanes: Int

  private init?(
    _ node: Node, rows: Dimension?, depth: Int?, outputs: Int?, _ context: SelectionContext
  ) {
    guard context.roundsFactors, context.target.hasTiles, let rows, let depth, let outputs,
      depth > 0, outputs > 0, node.results.count == 1, let input = node.operand(0),
      let weight = node.operand(1), context.graph[weight].parameter?.data != nil,
      (node.presentOperands + node.results).allSatisfy({ context.type($0).dtype == .float32 })
    else { return nil }
    (self.input, self.weight, output) = (input, weight, node.results[0])
    (self.rows, self.depth, self.outputs) = (rows, depth, outputs)
    lanes = context.target.lanes
  }

  init?(_ operation: Gemm, _ node: Node, _ context: SelectionContext) {
    let (x, y) = (node.operand(0), node.results.first)
    let outputs = y.flatMap { context.type($0).shape[1].constant }
    let addend = node.operand(2)
    let isBias =
      addend.map { value in
        context.graph[value].parameter?.data != nil
          && context.type(value).shape.elementCount == outputs.map { Dimension($0) }
          && context.type(value).shape.dimensions.last == outputs.map { Dimension($0) }
      } ?? true
    guard !operation.transposesA, isBias else { return nil }
    self.init(
      node, rows: y.map { context.type($0).shape[0] },
      depth: x.flatMap { context.type($0).shape[1].constant }, outputs: outputs, context)
    (bias, self.addend) = (addend, node.operand(3))
    isTransposed = operation.transposesB
    (scale, biasScale) = (Float(operation.alpha), Float(operation.beta))
    activation = operation.activation
  }

  /// A matrix, or several, times one.
  init?(multiplying node: Node, _ context: SelectionContext) {
    guard let x = node.operand(0), let w = node.operand(1), let y = node.results.first,
      context.type(x).rank >= 2, context.type(w).rank == 2
    else { return nil }
    self.init(
      node, rows: TensorShape(Array(context.type(y).shape.dimensions.dropLast())).elementCount,
      depth: context.type(x).shape.dimensions.last?.constant,
      outputs: context.type(w).shape[1].constant, context)
  }

  /// Bytes of a row of a tile.
  private static let rowBytes = 64
  /// The depth in whole tiles.
  private var paddedDepth: Int { (depth + 31) / 32 * 32 }
  /// Bytes from one rounded row to the next: neighboring rows of a tile lie in different sets of the caches.
  private var pitch: Int { paddedDepth * 2 + Self.rowBytes }
  private var blocks: Int { (outputs + lanes - 1) / lanes }
  private var groups: Int { (blocks + 1) / 2 }
  private var weightBytes: Int { blocks * paddedDepth / 32 * Self.rowBytes * lanes }
  /// Rows that are rounded together: enough to read the weights seldom, and little enough for the L2 cache.
  private var strip: Int { max(16, min(128, (1 << 20) / pitch / 16 * 16)) }
  /// Parts of the rows that threads divide; 1 where they divide the outputs, because the weights are more than the
  /// caches hold.
  private var pieces: Int {
    guard rows.coefficient >= 64, weightBytes <= 4 << 20 else { return 1 }
    return weightBytes <= 1 << 19 ? 8 : 2
  }

  var summary: String {
    "tiles of \(2 * lanes) outputs x 32 rows, products of bfloat16, threads split \(groups) groups of "
      + "outputs of \(pieces) pieces of rows"
  }

  /// A product of tiles takes as long as 32 vector multiply-adds; of few rows, reading the weights takes longer, of
  /// which there are half as many bytes.
  var cost: Double {
    let tiles = (Double(max(1, rows.coefficient)) / 16).rounded(.up)
    let products = tiles * Double(blocks * paddedDepth / 32) * 32
    return rows.coefficient < 16
      ? Double(max(1, rows.coefficient) * depth) * Double(blocks) / 2
      : products + Double(rows.coefficient) * Double(blocks * 4 + depth / lanes * 3)
  }

  var arithmetic: DataType? { .bfloat16 }
  var workShape: WorkShape { WorkShape(weights: 0.5) }
  var scratchBytes: Int { strip * pitch }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let kernel = try program.library.add(
      "product_bf16_\(depth)to\(outputs)" + (addend == nil ? "" : "_residual")
        + activation.nameSuffix,
      algorithm: summary
    ) { name in
      try Templates.productTiles.render([
        "banner":
          "x [rows, \(depth)] times weights [\(depth), \(outputs)], activation \(activation), "
          + "factors rounded to bfloat16.\n * " + CText.wrapped(summary) + ".",
        "name": name, "depth": "\(depth)", "outputs": "\(outputs)", "pitch": "\(pitch)",
        "padded_depth": "\(paddedDepth)", "strip": "\(strip)", "pieces": "\(pieces)",
        "activation": activation.expression("value"),
        "residual_parameter": addend == nil ? "" : "const float *residual,",
        "add_residual": addend == nil ? "" : "value += load(residual + at);",
        "add_residual_part": addend == nil ? "" : "value += load_part(residual + at, lanes);",
      ])
    }
    let bias = try program.channelVector(
      bias, count: outputs, padded: groups * 2 * lanes, scale: biasScale)
    let arguments =
      [try program.address(input), "(const byte *)(const void *)" + (try packed(&program)), bias]
      + (try addend.map { [try program.address($0)] } ?? [])
    program.emit(
      kernel, arguments + [try program.address(output), rows.expression, "scratch"],
      units: WorkUnits(fixed: groups * pieces), shape: workShape)
  }

  /// [depth, outputs] or [outputs, depth] → [output block pair][32 inputs][output block][two inputs][lane][input of the
  /// two], zeros past the last output and input.
  private func packed(_ program: inout Lowering) throws -> String {
    let source = try program.data(of: weight)
    let tile = Self.rowBytes * lanes
    return program.packedConstant(
      [weight],
      form:
        "bfloat16 tiles \(depth) to \(outputs)\(isTransposed ? " transposed" : ""), times \(scale)",
      floatCount: weightBytes / 4
    ) { packed in
      let numbers = source.floats()
      let bytes = UnsafeMutableRawBufferPointer(packed)
      for output in 0..<outputs {
        let (block, lane) = (output / lanes, output % lanes)
        let width = min(2, blocks - block / 2 * 2)
        let start = block / 2 * 2 * (paddedDepth / 32 * tile) + block % 2 * tile + lane * 4
        for k in 0..<depth {
          let number = numbers[isTransposed ? output * depth + k : k * outputs + output] * scale
          let at = start + k / 32 * width * tile + k % 32 / 2 * lanes * 4 + k % 2 * 2
          bytes.storeBytes(of: number.bfloat16Bits, toByteOffset: at, as: UInt16.self)
        }
      }
    }
  }
}

extension Templates {
  static let productTiles = Template("product_tiles.c", PackageResources.product_tiles_c_in)
}
