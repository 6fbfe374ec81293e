// The end of a training step: gradients accumulated and clipped, and the optimizer's updates.

import GraftDiagnostics
import GraftIR
import GraftOps

extension TrainingGraph {
  mutating func appendUpdates(
    _ gradients: [(parameter: ValueID, gradient: ValueID)], _ hyperparameters: ValueID,
    _ settings: ValueID?
  ) throws {
    var totals = gradients
    if specification.accumulates {
      for (index, entry) in gradients.enumerated() {
        let name = (step[entry.parameter].name ?? "") + TrainingInterface.gradientSuffix
        let sum = try addState(name, like: entry.parameter, role: .accumulator)
        let total = try step.append(Accumulate(), [sum, entry.gradient, settings])[0]
        newContents.append((name, total))
        totals[index].gradient = total
      }
    }
    var factor: ValueID?
    if specification.clips {
      let sums = try totals.map { try step.append(SquareSum(), [$0.gradient])[0] }
      factor = try step.append(ClipFactor(), [settings] + sums)[0]
    }
    for (parameter, gradient) in totals {
      let name = step[parameter].name ?? ""
      let group = specification.groups[name] ?? 0
      func slot(_ kind: String) throws -> (name: String, id: ValueID) {
        let slot = "\(name)/\(kind)"
        return (slot, try addState(slot, like: parameter, role: .optimizer))
      }
      let slots: [(name: String, id: ValueID)]
      let results: [ValueID]
      switch specification.optimizer {
      case .sgd(let hasMomentum, let isNesterov):
        slots = hasMomentum ? [try slot("momentum")] : []
        results = try step.append(
          SGDUpdate(group: group, isNesterov: isNesterov),
          [parameter, gradient, hyperparameters, slots.first?.id, factor])
      case .adam(let isDecoupled):
        slots = [try slot("first_moment"), try slot("second_moment")]
        results = try step.append(
          AdamUpdate(group: group, isDecoupled: isDecoupled),
          [parameter, gradient, hyperparameters, slots[0].id, slots[1].id, factor])
      }
      newContents += zip([name] + slots.map(\.name), results).map { ($0, $1) }
    }
  }
}
