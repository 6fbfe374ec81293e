// Brings weights into the order in which kernels stream them. Sources may be float32, float16, bfloat16
// or float64; kernels read float32.

import GraftDiagnostics
import GraftIR

/// Packing of each kernel's weights, from row-major parameters to the kernel's own order.
enum WeightPacking {
  /// [outputs, channels / groups, kernel height, kernel width] →
  /// [chunk][output group][input block][kernel height][kernel width][input channel][tile block][lane],
  /// zero for lanes past the last output, channels past the last, and channels of other groups.
  static func direct(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, shape: ConvolutionShape,
    schedule: DirectSchedule, lanes: Int
  ) {
    let (kernelHeight, kernelWidth) = (shape.window.kernel[0], shape.window.kernel[1])
    let taps = kernelHeight * kernelWidth
    let inputBlock = schedule.inputBlock
    weights.withUnsafeBufferPointer { weights in
      var position = 0
      for chunk in stride(from: 0, to: schedule.inputBlocks, by: schedule.chunk) {
        let chunkEnd = min(schedule.inputBlocks, chunk + schedule.chunk)
        for group in 0..<schedule.groups {
          let firstBlock = group * schedule.tileBlocks
          let blocks = min(schedule.tileBlocks, schedule.outputBlocks - firstBlock)
          let firstInput = schedule.windows?.first[group] ?? 0
          let blocksEnd = min(chunkEnd, schedule.windows?.counts[group] ?? chunkEnd)
          for block in chunk..<max(chunk, blocksEnd) {
            for tap in 0..<taps {
              for inner in 0..<inputBlock {
                let channel = (firstInput + block) * inputBlock + inner
                for lane in 0..<(blocks * lanes) {
                  let output = firstBlock * lanes + lane
                  if output < shape.outputs {
                    let local = channel - output / shape.outputsPerGroup * shape.channelsPerGroup
                    if local >= 0 && local < shape.channelsPerGroup {
                      packed[position] =
                        weights[(output * shape.channelsPerGroup + local) * taps + tap]
                    }
                  }
                  position += 1
                }
              }
            }
          }
        }
      }
    }
  }

  /// [outputs, channels, 3, 3] → [set of outputs][point][output group][input channel][block of the
  /// group][lane], transformed in float64 and rounded once.
  static func winograd(
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

  /// [channels, 1, kernel height, kernel width] → [channel block][kernel height][kernel width][lane].
  static func depthwise(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, channels: Int, taps: Int,
    lanes: Int
  ) {
    for channel in 0..<channels {
      let start = channel / lanes * taps * lanes + channel % lanes
      for tap in 0..<taps { packed[start + tap * lanes] = weights[channel * taps + tap] }
    }
  }

  /// [outputs, channels / groups, kernel height, kernel width] →
  /// [set of outputs][channel of the group][kernel height][kernel width][output of the set].
  static func plain(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, shape: ConvolutionShape,
    schedule: PlainSchedule
  ) {
    let steps = shape.channelsPerGroup * shape.window.kernel[0] * shape.window.kernel[1]
    for output in 0..<shape.outputs {
      let (group, local) = output.quotientAndRemainder(dividingBy: shape.outputsPerGroup)
      let set = group * schedule.setsPerGroup + local / schedule.outputsPerSet
      let start = set * steps * schedule.outputsPerSet + local % schedule.outputsPerSet
      for step in 0..<steps {
        packed[start + step * schedule.outputsPerSet] = weights[output * steps + step]
      }
    }
  }

  /// A matrix of `inputs` × `outputs` → [output group][input][lane of the group]. `isTransposed` says
  /// that the matrix is stored as [outputs, inputs].
  static func matrix(
    _ weights: [Float], into packed: UnsafeMutableBufferPointer<Float>, inputs: Int, outputs: Int,
    groupLanes: Int, isTransposed: Bool, scale: Float
  ) {
    weights.withUnsafeBufferPointer { weights in
      let groups = (outputs + groupLanes - 1) / groupLanes
      for group in 0..<groups {
        let first = group * groupLanes
        let count = min(groupLanes, outputs - first)
        for input in 0..<inputs {
          let row = (group * inputs + input) * groupLanes
          for lane in 0..<count {
            let source =
              isTransposed
              ? (first + lane) * inputs + input : input * outputs + first + lane
            packed[row + lane] = weights[source] * scale
          }
        }
      }
    }
  }

  /// A plain copy; what lies past it stays zero.
  static func vector(
    _ values: [Float], into packed: UnsafeMutableBufferPointer<Float>, scale: Float = 1
  ) {
    for (index, value) in values.enumerated() where index < packed.count {
      packed[index] = value * scale
    }
  }
}
