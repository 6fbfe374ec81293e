// Attention and its gradient without the matrix of scores (Dao et al. 2022, arXiv:2205.14135): a tile of queries at a
// time, in the lanes of vectors, goes over blocks of keys, whose scores stay in the cache.

import GraftDiagnostics
import GraftIR
import GraftOps

extension KernelFamily {
  static let attention = KernelFamily(
    name: "attention",
    rules: [
      .serving(Attention.self) { operation, node, context in
        [try AttentionSchedule(node, operation, context, isGradient: false)]
      },
      .serving(AttentionGradient.self) { operation, node, context in
        [try AttentionSchedule(node, Attention(scale: operation.scale), context, isGradient: true)]
      },
    ])
}

private struct AttentionSchedule: KernelSchedule {
  /// Most queries of a tile and keys of a block: their scores are 64 KiB.
  private static let tileQueries = 64
  private static let blockKeys = 256
  /// Most bytes of a tile's queries with their components turned into rows.
  private static let turnedBytes = 1 << 16

  let operation: Attention
  let isGradient: Bool
  let extents: AttentionExtents
  /// The position of q among the operands, and those of bias and mask where they are there.
  let q: Int
  let firstAddend: Int
  let addends: [Int]
  let target: Target
  /// Vectors of queries of each tile, and how many of the tiles have one more.
  let tileVectors: Int
  let longerTiles: Int
  let tiles: Int
  let block: Int

  init(
    _ node: Node, _ operation: Attention, _ context: SelectionContext, isGradient: Bool
  ) throws {
    try context.graph.requireFloat(node.presentOperands + node.results)
    self.operation = operation
    self.isGradient = isGradient
    target = context.target
    q = isGradient ? 1 : 0
    firstAddend = isGradient ? 6 : 3
    addends = [firstAddend, firstAddend + 1].filter { node.operand($0) != nil }
    extents = try AttentionExtents(
      (q..<(q + 3)).map { node.operand($0).map(context.type) }, operation.views)
    let vectorBytes = max(extents.size, extents.width) * target.lanes * MemoryLayout<Float>.size
    guard vectorBytes <= Self.turnedBytes else {
      throw GraftError(
        .unsupported, "heads of size \(extents.size) and width \(extents.width)",
        advice: "At most \(Self.turnedBytes / 4 / target.lanes) components are supported.")
    }
    let most = max(1, min(Self.tileQueries / target.lanes, Self.turnedBytes / vectorBytes))
    let vectors = (extents.queries + target.lanes - 1) / target.lanes
    tiles = (vectors + most - 1) / most
    tileVectors = vectors / tiles
    longerTiles = vectors % tiles
    let blocks = (extents.keys + Self.blockKeys - 1) / Self.blockKeys
    block = (extents.keys + blocks - 1) / blocks
  }

  private var wide: Int { (tileVectors + (longerTiles > 0 ? 1 : 0)) * target.lanes }
  private var product: ProductTile { ProductTile(target) }

  /// Floats of the turned queries (and gradients of the results), and of the scores (and their gradients).
  private var turned: Int { (extents.size + (isGradient ? extents.width : 0)) * wide }
  private var scores: Int { block * wide * (isGradient ? 2 : 1) }

  /// These, and the copies of last columns.
  var scratchBytes: Int {
    let copied = [extents.size, extents.width].map(product.copiedColumns).max() ?? 0
    let floats = turned + scores + copied * max(block, wide)
    return (floats * MemoryLayout<Float>.size + 63) / 64 * 64
  }

  var summary: String {
    "tiles of up to \(wide) queries by blocks of \(block) keys, threads split "
      + (isGradient ? "matrices" : "tiles")
  }

  /// Products at the rate of a register tile, and about 20 operations for each power.
  var cost: Double {
    let products = isGradient ? 3 * extents.size + 2 * extents.width : extents.size + extents.width
    let count = extents.leading.reduce(1.0) { $0 * Double(max(1, $1.coefficient)) }
    let scores = Double(extents.queries * extents.keys) / Double(target.lanes)
    return count * scores * Double(products + 20)
  }

  func emit(_ node: Node, into program: inout Lowering) throws {
    let loop = try offsets(node, program)
    let steps = try rows(node, program)
    let texts = (0..<loop.strides.count).map { loop.offset($0, row: "matrix") }
    let batch = BatchParameter(readBy: texts + steps)
    let names = ["bias", "mask"]
    let present = addends.map { names[$0 - firstAddend] }
    var values = [
      "banner":
        "Attention of \(extents.queries) queries of size \(extents.size) to \(extents.keys) keys, values of "
        + "\(extents.width), float32: \(summary).",
      "queries": "\(extents.queries)", "keys": "\(extents.keys)", "size": "\(extents.size)",
      "width": "\(extents.width)", "block": "\(block)", "tiles": "\(tiles)",
      "tile_base": "\(tileVectors)", "tile_longer": "\(longerTiles)", "wide": "\(wide)",
      "scale": CText.float(operation.scale), "batch": batch.declaration,
      "bias_parameters": present.map { "const float *\($0)," }.joined(separator: " "),
      "bias_lanes": present.isEmpty
        ? "" : "const size_t part = count > at ? smaller(LANES, count - at) : 0;",
    ]
    for (index, name) in ["q", "k", "v", "y"].enumerated() {
      let start = operation.views.flatMap { index < 3 ? $0.views[index].offset : nil } ?? 0
      values["\(name)_offset"] = start == 0 ? texts[index] : "\(start) + \(texts[index])"
      values["\(name)_row"] = steps[index]
    }
    values["bias_offsets"] = present.enumerated().map { index, name in
      "const float *\(name)_rows = \(name) + \(texts[4 + index]);"
    }.joined(separator: "\n")
    var lines = present.map { name in
      """
      const float *\(name)_at = \(name)_rows + (block + key) * QUERIES + first + at;
      score += part == LANES ? load(\(name)_at) : load_part(\(name)_at, part);
      """
    }
    if !present.isEmpty && !isGradient { lines.append("store(scores + key * WIDE + at, score);") }
    values["add_biases"] = lines.joined(separator: "\n")
    let label =
      "attention\(isGradient ? "_gradient" : "")_f32_\(extents.queries)x\(extents.keys)x\(extents.size)"
      + (extents.width == extents.size ? "" : "x\(extents.width)")
      + present.map { "_\($0)" }.joined()
    let kernel = try program.library.add(label, algorithm: summary) { name in
      let all = values.merging(["name": name]) { $1 }
      let template = isGradient ? Templates.attentionGradient : Templates.attention
      return try product.multiply(name: name) + Templates.attentionParts.render(all)
        + template.render(all)
    }
    let matrices = TensorShape(extents.leading).elementCount ?? 1
    let arguments = try (node.presentOperands + node.results).map { try program.address($0) }
    program.emit(
      kernel, arguments + batch.arguments + ["scratch"],
      units: WorkUnits(isGradient ? 1 : tiles, times: matrices))
  }

  /// Loops over the leading axes with the strides of q, k, v, y, bias and mask.
  private func offsets(_ node: Node, _ program: Lowering) throws -> StridedLoop {
    let count = extents.leading.count
    var strides: [[Dimension]] = []
    if let views = operation.views {
      strides = views.views.map { Array($0.strides.dropLast()) }
      let y = try program.type(node.results[0]).shape.plainStrides()
      strides.append((0..<count).map { axis in y[views.order.firstIndex(of: axis) ?? axis] })
    } else {
      let operands = try (q..<(q + 3)).map { try program.operand($0, of: node) }
      let y = isGradient ? try program.operand(4, of: node) : node.results[0]
      strides = try (operands + [y]).map {
        Array(try program.type($0).shape.plainStrides().prefix(count))
      }
    }
    let scores = TensorShape(
      extents.leading + [Dimension(extents.keys), Dimension(extents.queries)])
    strides += try addends.map { index in
      let shape = program.type(try program.operand(index, of: node)).shape
      return Array(try shape.broadcastStrides(to: scores).prefix(count))
    }
    // A dummy inner axis, so that all leading axes are outer ones.
    return try StridedLoop(
      extents: extents.leading + [2], strides: strides.map { $0 + [0] })
  }

  /// The steps from row to row of q, k, v and y.
  private func rows(_ node: Node, _ program: Lowering) throws -> [String] {
    guard let views = operation.views else {
      return [extents.size, extents.size, extents.width, extents.width].map { "\($0)" }
    }
    let shape = program.type(node.results[0]).shape
    let place = views.order.firstIndex(of: extents.leading.count) ?? 0
    return views.views.map { ($0.strides.last ?? 0).step } + [try shape.plainStrides()[place].step]
  }
}

extension Templates {
  static let attention = Template("attention.c", PackageResources.attention_c_in)
  static let attentionGradient = Template(
    "attention_gradient.c", PackageResources.attention_gradient_c_in)
  static let attentionParts = Template(
    "attention_parts.c", PackageResources.attention_parts_c_in)
}
