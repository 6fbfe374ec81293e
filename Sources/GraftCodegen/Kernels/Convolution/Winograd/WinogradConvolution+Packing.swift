// The order of weights that Winograd's algorithm reads, written twice to the same bits: while compiling, and as C
// for weights that training changes.

import GraftIR
import GraftOps

extension WinogradConvolution {
  var weightOrder: WeightOrder {
    let (shape, schedule, lanes) = (shape, schedule, lanes)
    let step = schedule.transform.step
    return WeightOrder(
      form: "winograd \(schedule.packedForm) \(lanes)",
      floatCount: schedule.weightFloats(lanes: lanes),
      fill: { Self.pack($0, into: $1, shape: shape, schedule: schedule, lanes: lanes) },
      kernelName: "pack_winograd\(step)_f32_\(shape.channels)to\(shape.outputs)"
        + "_\(schedule.setBlocks)_by_\(schedule.groupBlocks)",
      algorithm: "weights transformed into the convolution's order, threads split output and input "
        + "blocks",
      units: schedule.outputBlocks * schedule.inputBlocks, template: Templates.packWinograd,
      values: packingValues)
  }

  /// [outputs, channels, 3, 3] → [set of outputs][point][output group][input channel][block of the
  /// group][lane], transformed in float64 and rounded once.
  private static func pack(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, shape: ConvolutionShape,
    schedule: WinogradSchedule, lanes: Int
  ) {
    let matrix = schedule.transform.weightMatrix
    let inputs = schedule.inputBlocks * lanes
    weights.withUnsafeBufferPointer { weights in
      for output in 0..<shape.outputs {
        let block = output / lanes
        let setBlock = block / schedule.setBlocks * schedule.setBlocks
        let setBlocks = min(schedule.setBlocks, schedule.outputBlocks - setBlock)
        let groupBlock = block / schedule.groupBlocks * schedule.groupBlocks
        let width = min(schedule.groupBlocks, schedule.outputBlocks - groupBlock) * lanes
        let start =
          (setBlock * schedule.points + groupBlock - setBlock) * inputs * lanes + output
          - groupBlock * lanes
        let pointStep = setBlocks * inputs * lanes
        for channel in 0..<shape.channels {
          let from = (output * shape.channels + channel) * 9
          let place = start + channel * width
          for (row, rows) in matrix.enumerated() {
            // One row of G · weights, then times the columns of Gᵀ.
            func element(_ column: Int) -> Double {
              rows[0] * Double(weights[from + column])
                + rows[1] * Double(weights[from + 3 + column])
                + rows[2] * Double(weights[from + 6 + column])
            }
            let (left, middle, right) = (element(0), element(1), element(2))
            for (column, columns) in matrix.enumerated() {
              packed[place + (row * matrix.count + column) * pointStep] = Float(
                left * columns[0] + middle * columns[1] + right * columns[2])
            }
          }
        }
      }
    }
  }

  private var packingValues: [String: String] {
    let transform = schedule.transform
    return [
      "banner": "Transforms weights [\(shape.outputs), \(shape.channels), 3, 3] for Winograd's "
        + "F(\(transform.step)x\(transform.step), 3x3).",
      "outputs": "\(shape.outputs)", "channels": "\(shape.channels)",
      "side": "\(transform.side)", "input_blocks": "\(schedule.inputBlocks)",
      "output_blocks": "\(schedule.outputBlocks)", "group_blocks": "\(schedule.groupBlocks)",
      "set_blocks": "\(schedule.setBlocks)",
      "matrix": transform.weightMatrix
        .map { "{" + $0.map { "\($0)" }.joined(separator: ", ") + "}," }
        .joined(separator: "\n"),
    ]
  }
}
