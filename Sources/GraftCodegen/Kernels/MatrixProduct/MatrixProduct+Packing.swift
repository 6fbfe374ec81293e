// The order of a constant matrix: groups of outputs, one input after the other.

import GraftIR

extension Lowering {
  /// The address of a constant matrix of `inputs` × `outputs` → [output group][input][lane of the group].
  /// - Parameter isTransposed: whether the matrix is stored as [outputs, inputs].
  mutating func packMatrix(
    _ weight: ValueID, inputs: Int, outputs: Int, groupLanes: Int, isTransposed: Bool, scale: Float
  ) throws -> String {
    let groups = (outputs + groupLanes - 1) / groupLanes
    let unit = IndexExpression.name("unit")
    var steps = IndexSteps()
    steps.add("width", .number(groupLanes))
    steps.add("first_output", unit * groupLanes)
    steps.add("place", unit * (inputs * groupLanes))
    let panels = WeightPanels(
      count: groups, steps: steps, endOutput: .number(outputs),
      contents: .copies(
        taps: inputs, inputs: 1,
        source: .outputs(output: isTransposed ? inputs : 1, tap: isTransposed ? 1 : outputs)))
    let source = try data(of: weight)
    let lanes = target.lanes
    return packedConstant(
      [weight], form: "matrix \(groupLanes) \(isTransposed) x \(scale)",
      floatCount: groups * inputs * groupLanes
    ) {
      try panels.pack(source.floats(), into: $0, lanes: lanes, scale: scale)
    }
  }
}
