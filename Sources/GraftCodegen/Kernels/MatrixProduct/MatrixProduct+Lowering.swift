// Products of matrices: fully connected layers, whose weights are packed, and the plain product of two
// matrices that grow with the batch.

import GraftDiagnostics
import GraftIR
import GraftOps

extension Lowering {
  mutating func lower(_ operation: Gemm, _ node: Node) throws {
    let (a, b) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    let addend = node.operand(2)
    let shape = type(output).shape
    guard !type(b).shape.dependsOnBatch, !operation.transposesA, let columns = shape[1].constant,
      let depth = type(a).shape[1].constant
    else {
      return try lowerPlainGemm(operation, node)
    }
    let residual = node.operand(3)
    let isBias =
      addend.map {
        type($0).shape.elementCount == Dimension(columns)
          && type($0).shape.dimensions.last == Dimension(columns)
      } ?? true
    try fullyConnected(
      a, b, bias: isBias ? addend : nil, residual: isBias ? residual : nil, to: output,
      rows: shape[0], inputs: depth, outputs: columns, isTransposed: operation.transposesB,
      scale: Float(operation.alpha), biasScale: Float(operation.beta),
      activation: isBias ? operation.activation : .none)
    if !isBias { try addAfterwards(node, operation, to: output) }
  }

  /// y = activation(x · w + bias + residual) for x [rows, inputs] and a matrix that does not grow with the batch.
  private mutating func fullyConnected(
    _ x: ValueID, _ weight: ValueID, bias: ValueID?, residual: ValueID? = nil,
    to output: ValueID, rows: Dimension, inputs: Int, outputs: Int, isTransposed: Bool,
    scale: Float, biasScale: Float,
    activation: Activation
  ) throws {
    try requireFloat([x, weight, output] + (residual.map { [$0] } ?? []))
    let schedule = MatrixSchedule.choose(inputs: inputs, outputs: outputs, target: target)
    let groupLanes = schedule.groupLanes(target)
    let groups = schedule.groups(target)
    // A computed matrix is packed here, each panel just before its use: no copy of it is kept.
    let isPacked = isConstant(weight)
    let pieces = isPacked ? schedule.pieces(rows: rows.coefficient) : 1
    let algorithm =
      "tile of \(groupLanes) outputs x \(schedule.tileRows) rows, \(schedule.chunk) inputs at a "
      + "time, threads split \(groups) groups of outputs of \(pieces) pieces of rows"
    let kernel = try library.add(
      "fully_connected_f32_\(inputs)to\(outputs)\(isPacked ? "" : "_packing")"
        + (residual == nil ? "" : "_residual") + activation.nameSuffix,
      algorithm: isPacked ? algorithm : algorithm + ", packing them as they go"
    ) { name in
      try Templates.fullyConnected.render([
        "banner": "x [rows, \(inputs)] times weights [\(inputs), \(outputs)] plus bias"
          + (residual == nil ? "" : " and residual")
          + ", activation \(activation), float32 throughout.\n * \(algorithm).",
        "name": name, "tile_blocks": "\(schedule.tileBlocks)",
        "tile_rows": "\(schedule.tileRows)", "inputs": "\(inputs)", "outputs": "\(outputs)",
        "chunk": "\(schedule.chunk)", "pieces": "\(pieces)",
        "activation": activation.expression("value"),
        "residual_parameter": residual == nil ? "" : "const float *residual,",
        "residual_argument": residual == nil ? "" : "residual + at, ",
        "add_residual": residual == nil ? "" : "value += load_part(residual + at, count);",
        "rest": Self.rest(of: schedule.tileRows), "prefetch": isPacked ? Self.prefetch : "",
        "next": isPacked ? Self.nextPanel : "",
        "next_parameter": isPacked ? "const float *next, " : "",
        "panel": isPacked
          ? "const float *weights = w + (group * INPUTS + k) * WIDTH;"
          : Self.packPanel(
            inputStep: isTransposed ? 1 : outputs, outputStep: isTransposed ? inputs : 1,
            scale: scale),
      ])
    }
    let packed =
      isPacked
      ? try packMatrix(
        weight, inputs: inputs, outputs: outputs, groupLanes: groupLanes,
        isTransposed: isTransposed, scale: scale) : try address(weight)
    let biasAddress = try channelVector(
      bias, count: outputs, padded: groups * groupLanes, scale: biasScale)
    try emit(
      kernel,
      [
        address(x), packed, biasAddress,
      ] + (try residual.map { [try address($0)] } ?? []) + [address(output), rows.expression],
      units: WorkUnits(fixed: groups * pieces))
  }

  /// C that reads ahead in the next panel: a tile brings a part of it into the L2 cache, one line every 8 inputs.
  /// The first tile of a panel would otherwise wait for memory.
  private static let prefetch = "if (k % 8 == 0) __builtin_prefetch(next + k * 2, 0, 2);"
  /// Where a tile reads ahead; a line has 16 floats.
  private static let nextPanel = "weights + depth * WIDTH + (row - start) / ROWS * depth * 2, "

  /// C that computes the last rows, fewer than a tile has, as one smaller tile.
  private static func rest(of tileRows: Int) -> String {
    guard tileRows > 1 else { return "" }
    let cases = (1..<tileRows).map { "case \($0): REST_OF(\($0)); break;" }
    return "switch (stop - row) {\n" + cases.joined(separator: "\n") + "\ndefault: break;\n}"
  }

  /// C that copies `depth` inputs of one group of outputs into a panel, in the order of
  /// MatrixSchedule.pack. Pieces of 16 inputs keep both sides in the L1 cache.
  private static func packPanel(inputStep: Int, outputStep: Int, scale: Float) -> String {
    """
    float panel[CHUNK * WIDTH];
    const float *matrix = w + k * \(inputStep) + group * WIDTH * \(outputStep);
    for (size_t piece = 0; piece < depth; piece += 16) {
      const size_t piece_end = smaller(piece + 16, depth);
      for (size_t lane = 0; lane < WIDTH; lane++) {
        for (size_t i = piece; i < piece_end; i++) {
          panel[i * WIDTH + lane] =
              lane < lanes ? matrix[i * \(inputStep) + lane * \(outputStep)] * \(CText.float(Double(scale))) : 0;
        }
      }
    }
    const float *weights = panel;
    """
  }

  /// Adds C and the residual of a gemm to its product, and applies its activation.
  private mutating func addAfterwards(
    _ node: Node, _ operation: Gemm, to output: ValueID
  ) throws {
    let residual = node.operand(3)
    if let addend = node.operand(2) {
      let beta = operation.beta == 1 ? "b_value" : "\(CText.float(operation.beta)) * b_value"
      try map(
        MapFunction(
          name: "gemm_add", expression: "a_value + \(beta)",
          activation: residual == nil ? operation.activation : .none),
        [output, addend], to: output)
    }
    if let residual {
      try map(
        MapFunction(
          name: "gemm_residual", expression: "a_value + b_value",
          activation: operation.activation), [output, residual], to: output)
    }
  }

  private mutating func lowerPlainGemm(_ operation: Gemm, _ node: Node) throws {
    let (a, b) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    let depthAxis = operation.transposesA ? 0 : 1
    guard let depth = type(a).shape[depthAxis].constant else {
      throw GraftError(.unsupported, "a product of \(type(a)) and \(type(b))")
    }
    let columns = type(output).shape[1]
    let (aWidth, bWidth) = (type(a).shape[1], type(b).shape[1])
    let finish =
      operation.alpha == 1
      ? "" : "for (size_t j = 0; j < COLUMNS; j++) to[j] *= \(CText.float(operation.alpha));"
    try matmul(
      a, b, to: output, depth: depth, columns: columns, rows: type(output).shape[0],
      matrices: 1, aOffset: "0", bOffset: "0",
      aSteps: operation.transposesA ? (1, aWidth) : (aWidth, 1),
      bSteps: operation.transposesB ? (1, bWidth) : (bWidth, 1), finish: finish)
    if node.operand(2) != nil || node.operand(3) != nil {
      try addAfterwards(node, operation, to: output)
    } else if operation.activation != .none {
      try map(
        MapFunction(name: "map", expression: "a_value", activation: operation.activation), [output],
        to: output)
    }
  }

  /// a · b with leading axes that broadcast. A vector counts as one row or one column.
  mutating func lower(_ operation: MatrixMultiply, _ node: Node) throws {
    let (a, b) = (try operand(0, of: node), try operand(1, of: node))
    let output = try result(of: node)
    var aShape = type(a).shape.dimensions
    var bShape = type(b).shape.dimensions
    var yShape = type(output).shape.dimensions
    if aShape.count == 1 {
      aShape.insert(1, at: 0)
      yShape.insert(1, at: max(0, yShape.count - (bShape.count == 1 ? 0 : 1)))
    }
    if bShape.count == 1 {
      bShape.append(1)
      yShape.append(1)
    }
    guard aShape.count >= 2, bShape.count >= 2, let columns = yShape.last,
      let depth = aShape.last?.constant
    else { throw GraftError(.unsupported, "a product of \(type(a)) and \(type(b))") }
    if !type(b).shape.dependsOnBatch, bShape.count == 2, let columns = columns.constant,
      let rows = TensorShape(Array(yShape.dropLast())).elementCount
    {
      return try fullyConnected(
        a, b, bias: nil, to: output, rows: rows, inputs: depth, outputs: columns,
        isTransposed: false, scale: 1, biasScale: 1, activation: .none)
    }
    let leading = TensorShape(Array(yShape.dropLast(2)))
    let aLeading = try TensorShape(aShape).broadcastStrides(
      to: TensorShape(leading.dimensions + aShape.suffix(2)))
    let bLeading = try TensorShape(bShape).broadcastStrides(
      to: TensorShape(leading.dimensions + bShape.suffix(2)))
    let rows = yShape[yShape.count - 2]
    // A dummy inner axis, so that all leading axes are outer ones.
    let loop = try StridedLoop(
      extents: leading.dimensions + [2],
      strides: [aLeading.dropLast(2) + [0], bLeading.dropLast(2) + [0]].map(Array.init))
    try matmul(
      a, b, to: output, depth: depth, columns: columns, rows: rows,
      matrices: leading.elementCount ?? 1,
      aOffset: loop.offset(0, row: "matrix"), bOffset: loop.offset(1, row: "matrix"),
      aSteps: (Dimension(depth), 1), bSteps: (columns, 1), finish: "")
  }

  private mutating func matmul(
    _ a: ValueID, _ b: ValueID, to output: ValueID, depth: Int, columns: Dimension,
    rows: Dimension, matrices: Dimension, aOffset: String, bOffset: String,
    aSteps: (row: Dimension, column: Dimension), bSteps: (row: Dimension, column: Dimension),
    finish: String
  ) throws {
    try requireFloat([a, b, output])
    guard let units = rows.multiplied(by: matrices) else {
      throw GraftError(.unsupported, "a product whose size grows with the square of the batch")
    }
    if let product = TiledProduct(
      rows: rows, depth: depth, columns: columns, aSteps: aSteps, bSteps: bSteps, target),
      finish.isEmpty
    {
      return try tiledProduct(
        a, b, to: output, product, matrices: matrices, aOffset: aOffset, bOffset: bOffset)
    }
    // Where rows grow with the batch and belong to one matrix, no number of them is needed.
    let rowCount = rows.isBatch && matrices == 1 ? "((size_t)-1)" : rows.count
    let constants =
      columns.isBatch
      ? "enum { DEPTH = \(depth) };\nconst size_t COLUMNS = \(columns.count);"
      : "enum { DEPTH = \(depth), COLUMNS = \(columns) };"
    let steps = [aSteps.row, aSteps.column, bSteps.row, bSteps.column].map(\.step)
    let batch = BatchParameter(readBy: [rowCount, constants, aOffset, bOffset] + steps)
    let kernel = try library.add(
      "matmul_f32_\(rows.isBatch ? "n" : "\(rows.coefficient)")x\(depth)x"
        + (columns.isBatch ? "n" : "\(columns)"),
      algorithm: "plain product, threads split rows"
    ) { name in
      try Templates.matmul.render([
        "banner": "Product of two computed matrices, depth \(depth), \(columns) columns.",
        "name": name, "rows": rowCount, "constants": constants, "batch": batch.declaration,
        "a_offset": aOffset, "b_offset": bOffset, "a_row": steps[0], "a_column": steps[1],
        "b_row": steps[2], "b_column": steps[3], "finish": finish,
      ])
    }
    let left = try address(a)
    let right = try address(b)
    emit(
      kernel, [left, right, try address(output)] + batch.arguments,
      units: WorkUnits(1, times: units))
  }
}

/// A product of two computed matrices of constant size, both row by row.
private struct TiledProduct {
  /// Rows of a piece of work; each piece copies the last columns once.
  static let piece = 24
  /// Bytes of the copy of the last columns, which is on the stack.
  static let largestCopy = 1 << 17

  let rows: Int
  let depth: Int
  let columns: Int
  let aRow: Int
  let bRow: Int
  let tile: ProductTile

  init?(
    rows: Dimension, depth: Int, columns: Dimension,
    aSteps: (row: Dimension, column: Dimension), bSteps: (row: Dimension, column: Dimension),
    _ target: Target
  ) {
    guard let rows = rows.constant, let columns = columns.constant, rows > 1, columns > 1,
      depth > 0, aSteps.column == 1, bSteps.column == 1, let aRow = aSteps.row.constant,
      let bRow = bSteps.row.constant
    else { return nil }
    tile = ProductTile(target)
    guard depth * tile.copiedColumns(of: columns) * 4 <= Self.largestCopy else { return nil }
    (self.rows, self.depth, self.columns) = (rows, depth, columns)
    (self.aRow, self.bRow) = (aRow, bRow)
  }

  /// Floats of the copy.
  var copy: Int { depth * tile.copiedColumns(of: columns) }
}

extension Lowering {
  private mutating func tiledProduct(
    _ a: ValueID, _ b: ValueID, to output: ValueID, _ product: TiledProduct, matrices: Dimension,
    aOffset: String, bOffset: String
  ) throws {
    let batch = BatchParameter(readBy: [aOffset, bOffset])
    let tile = product.tile
    let algorithm =
      "tile of \(tile.rows) rows x \(tile.vectors * target.lanes) columns, threads split "
      + "pieces of \(TiledProduct.piece) rows"
    let kernel = try library.add(
      "matmul_f32_\(product.rows)x\(product.depth)x\(product.columns)_tiled", algorithm: algorithm
    ) { name in
      try tile.multiply(name: name)
        + Templates.matmulTiled.render([
          "banner": "Product of computed matrices [\(product.rows), \(product.depth)] and "
            + "[\(product.depth), \(product.columns)]: \(algorithm).",
          "name": name, "depth": "\(product.depth)", "columns": "\(product.columns)",
          "total_rows": "\(product.rows)", "a_row": "\(product.aRow)", "b_row": "\(product.bRow)",
          "piece": "\(TiledProduct.piece)", "rest": "\(max(1, product.copy))",
          "batch": batch.declaration, "a_offset": aOffset, "b_offset": bOffset,
        ])
    }
    let left = try address(a)
    let right = try address(b)
    emit(
      kernel, [left, right, try address(output)] + batch.arguments,
      units: WorkUnits(
        (product.rows + TiledProduct.piece - 1) / TiledProduct.piece, times: matrices))
  }
}

extension Templates {
  static let matmulTiled = Template("matmul_tiled.c", PackageResources.matmul_tiled_c_in)
  static let fullyConnected = Template("fully_connected.c", PackageResources.fully_connected_c_in)
  static let matmul = Template("matmul.c", PackageResources.matmul_c_in)
}
