// The register tile of products of matrices that are not packed beforehand.

import GraftIR

/// The tile and its C: `NAME_panel` of product_tile.c, and `NAME_multiply` of product_columns.c.
struct ProductTile {
  /// Vectors of columns.
  let vectors: Int
  let rows: Int
  private let lanes: Int

  init(_ target: Target) {
    vectors = target.registers >= 32 ? 4 : 2
    // Sums, one row of vectors and a broadcast.
    rows = min(6, (target.registers - vectors - 1) / vectors)
    lanes = target.lanes
  }

  /// Columns of a tile.
  var width: Int { vectors * lanes }

  /// Columns of the vectors behind the last whole tile of a matrix, if these vectors are not whole: a kernel copies
  /// so many floats for each row of b.
  func copiedColumns(of columns: Int) -> Int {
    guard !columns.isMultiple(of: lanes) else { return 0 }
    return (columns % width + lanes - 1) / lanes * lanes
  }

  /// `NAME_panel` for matrices of any size.
  func panel(name: String) throws -> String {
    try panel(name: name, rowRests: [4, 2, 1], columnRests: Array(1...vectors))
  }

  /// `NAME_panel` for the rows and columns that are left of `totalRows` and `totalColumns` alone.
  func panel(name: String, totalRows: Int, totalColumns: Int) throws -> String {
    let left = totalColumns % width
    return try panel(
      name: name, rowRests: [4, 2, 1].filter { totalRows % rows & $0 != 0 },
      columnRests: left == 0 ? [] : [(left + lanes - 1) / lanes])
  }

  /// `NAME_multiply`, and what it calls.
  func multiply(name: String) throws -> String {
    try panel(name: name)
      + Templates.productColumns.render(["name": name, "tile_vectors": "\(vectors)"])
  }

  private func panel(name: String, rowRests: [Int], columnRests: [Int]) throws -> String {
    try Templates.productTile.render([
      "name": name, "tile_rows": "\(rows)", "tile_vectors": "\(vectors)",
      "row_rests": rowRests.filter { $0 < rows }.map { "ROWS_LEFT(\($0))" }.joined(separator: "\n"),
      "column_rests": columnRests.map { "REST_OF(\($0))" }.joined(separator: "\n"),
    ])
  }
}

extension Templates {
  static let productTile = Template("product_tile.c", PackageResources.product_tile_c_in)
  static let productColumns = Template("product_columns.c", PackageResources.product_columns_c_in)
}
