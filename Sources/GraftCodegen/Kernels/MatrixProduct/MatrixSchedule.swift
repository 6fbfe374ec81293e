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

  static func choose(inputs: Int, outputs: Int, target: Target) -> MatrixSchedule {
    let blocks = (outputs + target.lanes - 1) / target.lanes
    let tileBlocks = min(4, blocks)
    // Accumulators, one vector of weights and one broadcast.
    let rows = max(1, (target.registers - 3) / max(1, tileBlocks))
    return MatrixSchedule(
      inputs: inputs, outputs: outputs, tileBlocks: tileBlocks, tileRows: min(rows, 6),
      chunk: 512)
  }
}
