// Sums of outer products over a batch: the gradients of a fully connected layer's weights.

import GraftDiagnostics
import GraftIR
import GraftOps

/// How an outer product of P and Q columns is computed: pieces of the result, which fit the L2 cache with the rows
/// that they are summed over, ``block`` at a time.
private struct OuterProductSchedule {
  /// Rows that are summed in registers before the sum goes to memory.
  static let block = 128
  /// Pieces below which the machine's threads might not all have work.
  static let fewestPieces = 16

  let tile: ProductTile
  private(set) var rowPiece: Int
  private(set) var columnPiece: Int
  private(set) var pieces = 0

  init(rows: Int, columns: Int, _ target: Target) {
    tile = ProductTile(target)
    func rounded(_ count: Int, to unit: Int) -> Int { (count + unit - 1) / unit * unit }
    rowPiece = min(32 * tile.rows, rounded(rows, to: tile.rows))
    columnPiece = min(256, rounded(columns, to: tile.width))
    pieces = count(rows, columns)
    while pieces < Self.fewestPieces, columnPiece > tile.width || rowPiece > 8 * tile.rows {
      if columnPiece > tile.width {
        columnPiece = rounded(columnPiece / 2, to: tile.width)
      } else {
        rowPiece = rounded(rowPiece / 2, to: tile.rows)
      }
      pieces = count(rows, columns)
    }
  }

  private func count(_ rows: Int, _ columns: Int) -> Int {
    ((rows + rowPiece - 1) / rowPiece) * ((columns + columnPiece - 1) / columnPiece)
  }
}

extension Lowering {
  mutating func lowerBatchOuterProduct(_ node: Node) throws {
    let (a, b) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    try requireFloat([a, b, output])
    guard let rows = type(a).shape[1].constant, let columns = type(b).shape[1].constant,
      rows > 0, columns > 0
    else { throw GraftError(.unsupported, "an outer product of \(type(a)) and \(type(b))") }
    let schedule = OuterProductSchedule(rows: rows, columns: columns, target)
    let tile = schedule.tile
    let algorithm =
      "tile of \(tile.rows) rows x \(tile.width) columns, \(OuterProductSchedule.block) rows of the batch at a "
      + "time, threads split pieces of \(schedule.rowPiece) x \(schedule.columnPiece)"
    let kernel = try library.add(
      "batch_outer_product_f32_\(rows)x\(columns)", algorithm: algorithm
    ) { name in
      try tile.panel(name: name, totalRows: rows, totalColumns: columns)
        + Templates.batchOuterProduct.render([
          "banner":
            "Sum over the batch of the products of \(rows) and \(columns) elements: \(algorithm).",
          "name": name, "rows": "\(rows)", "columns": "\(columns)",
          "row_piece": "\(schedule.rowPiece)", "column_piece": "\(schedule.columnPiece)",
          "tile_vectors": "\(tile.vectors)", "block": "\(OuterProductSchedule.block)",
        ])
    }
    try emit(
      kernel,
      [address(a), address(b), address(output), type(a).shape[0].expression],
      units: WorkUnits(fixed: schedule.pieces))
  }
}

extension Templates {
  static let batchOuterProduct = Template(
    "batch_outer_product.c", PackageResources.batch_outer_product_c_in)
}
