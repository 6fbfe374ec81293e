// How a matrix product with constant weights is computed: register tile and depth of a block. Pure, like
// the choice for convolutions.

/// Rows × output blocks of a register tile, over weights in groups of output blocks.
struct MatrixSchedule: Hashable {
  var inputs: Int
  var outputs: Int
  /// Vectors of outputs that one tile computes.
  var tileBlocks: Int
  var tileRows: Int
  /// Inputs that are summed in registers before the sum goes to memory. Sums of sums also keep the
  /// rounding error of 25,088 terms small.
  var chunk: Int

  func groupLanes(_ target: Target) -> Int { tileBlocks * target.lanes }
  func groups(_ target: Target) -> Int {
    (outputs + groupLanes(target) - 1) / groupLanes(target)
  }

  /// Tiles of 4 blocks of outputs, or of fewer where they leave fewer vectors empty.
  static func choose(inputs: Int, outputs: Int, target: Target) -> MatrixSchedule {
    let blocks = max(1, (outputs + target.lanes - 1) / target.lanes)
    let schedules = (1...min(4, blocks)).reversed().map { tileBlocks in
      // Accumulators, one vector of weights and one broadcast; at most 24, beyond which the loop is no faster.
      let rows = min((target.registers - 3) / tileBlocks, 24 / tileBlocks)
      return MatrixSchedule(
        inputs: inputs, outputs: outputs, tileBlocks: tileBlocks, tileRows: max(1, min(rows, 8)),
        chunk: 512)
    }
    return schedules.min { $0.time(target) < $1.time(target) } ?? schedules[0]
  }

  /// The time of a row and an input, in vector multiply-adds: those, with the ones of empty lanes, and for each a
  /// share of a load of weights and of a broadcast, which mostly run beside them. Where no lane is empty, 4 blocks win.
  private func time(_ target: Target) -> Double {
    let vectors = Double(tileBlocks * groups(target))
    let loads = 1 / Double(tileBlocks) + 1 / Double(tileRows)
    return vectors * (1 + 0.3 * loads)
  }

  /// Into how many pieces its rows are divided, so that a thread computes rows that it reads elsewhere too; 1 where
  /// threads divide the outputs instead, because every thread would have to read more weights than its caches hold.
  /// - Parameter rows: of one image.
  func pieces(rows: Int) -> Int {
    let bytes = inputs.multipliedReportingOverflow(by: 4 * outputs)
    guard rows >= 8 * tileRows, !bytes.overflow, bytes.partialValue <= 4 << 20 else { return 1 }
    return bytes.partialValue <= 1 << 19 ? 8 : 2
  }
}
