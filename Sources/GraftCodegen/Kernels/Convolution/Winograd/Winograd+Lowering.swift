// The text of Winograd's convolution: what its template asks for beside what all convolutions share.

import GraftOps

extension ConvolutionParts {
  func winogradValues(_ schedule: WinogradSchedule) -> [String: String] {
    let transform = schedule.transform
    let window = shape.window
    var values = [
      "input_statements": transform.inputStatements(from: "d", to: "t"),
      "output_statements": transform.outputStatements(from: "p", to: "t"),
      "side": "\(transform.side)", "step": "\(transform.step)",
      "tile_columns": "\(schedule.tileColumns)", "tiles": "\(schedule.tiles)",
      "input_blocks": "\(schedule.inputBlocks)", "chunk": "\(schedule.chunk)",
      // From the first pixel that a window reads to the end of the border.
      "x_rows": "\(x.height + x.borderHeight + window.pads[0])",
      "x_columns": "\(x.width + x.borderWidth + window.pads[1])",
      "group_blocks": "\(schedule.groupBlocks)", "group_tiles": "\(schedule.groupTiles)",
      "set_blocks": "\(schedule.setBlocks)", "sets": "\(schedule.sets)",
      "block_tiles": "\(schedule.blockTiles)", "split_tiles": schedule.splitsTiles ? "1" : "0",
      "streams_weights": schedule.streamsWeights ? "1" : "0",
      "point_gap": "\(WinogradSchedule.pointGap)",
      "added_parameter": "", "add_residual": "", "residual_argument": "", "residual_pass": "",
      "residual_tile": "",
    ]
    if let residual {
      values["added_parameter"] = "const float *added,"
      values["add_residual"] = "value += load(added + i * \(residual.row) + j * LANES);"
      values["residual_argument"] = "added, "
      values["residual_pass"] = "residual, "
      values["residual_tile"] =
        "const float *added = residual + block * \(residual.plane) + \(residual.origin)\n"
        + "    + row * \(residual.row) + column * LANES;"
    }
    return values
  }
}
