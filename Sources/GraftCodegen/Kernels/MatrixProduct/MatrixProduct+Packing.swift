// The order of a constant matrix: groups of outputs, one input after the other.

import GraftIR

extension Lowering {
  /// The address of a constant matrix of `inputs` × `outputs` in groups of `groupLanes` outputs.
  mutating func packMatrix(
    _ weight: ValueID, inputs: Int, outputs: Int, groupLanes: Int, isTransposed: Bool, scale: Float
  ) throws -> String {
    let groups = (outputs + groupLanes - 1) / groupLanes
    let source = try data(of: weight)
    return packedConstant(
      [weight], form: "matrix \(groupLanes) \(isTransposed) x \(scale)",
      floatCount: groups * inputs * groupLanes
    ) {
      MatrixSchedule.pack(
        source.floats(), into: $0, inputs: inputs, outputs: outputs, groupLanes: groupLanes,
        isTransposed: isTransposed, scale: scale)
    }
  }
}

extension MatrixSchedule {
  /// A matrix of `inputs` × `outputs` → [output group][input][lane of the group]. `isTransposed` says
  /// that the matrix is stored as [outputs, inputs].
  fileprivate static func pack(
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
}
