// The rounds of pruning: channels are judged on minibatches, removed, and the step is compiled for the smaller
// network.

import Graft
import GraftAutodiff
import GraftData
import GraftDiagnostics
import GraftRuntime

extension FineTuner {
  /// Runs all rounds that are left, with the epochs between them. The optimizer starts each with a new state.
  /// - Returns: the plan of the pruned network.
  mutating func prune(
    _ plan: RunPlan, _ run: inout TrainingRun, _ ready: inout Preparation,
    observe: (Event) throws -> Void
  ) throws -> RunPlan {
    // A rehearsal measures the unpruned network, which needs the most memory and time.
    guard let pruning = plan.pruning, plan.sampleSize == nil else { return plan }
    var plan = plan
    for round in pruning.rounds.count..<max(pruning.rounds.count, pruning.roundCount) {
      try run.perform(upTo: round, observe: observe)
      let number = "round \(round + 1) of \(pruning.roundCount)"
      try observe(.doing("pruning, \(number): judging channels"))
      let groups = try ChannelGroups(plan.sources[plan.network.program])
      var importance = TaylorImportance(
        of: groups, trained: Set(plan.training.specification.groups.keys))
      try run.judge(&importance, round: round + 1)
      var choice = ChannelChoice(groups, vector: plan.options.target.lanes)
      let cuts = choice.remove(downTo: pruning.limit(afterRound: round + 1)) { importance[$0] }
      plan = try plan.removing(cuts, trainedBy: run.trainer)
      try run.trainer.releaseActivations()
      let folder = try TemporaryFolder()
      let trainer = try compileStep(plan, into: folder.path, observe: observe)
      ready.replaceStep(plan.training, trainer, in: folder)
      run.go(on: plan.training, trainer, without: cuts)
      let record = try pruning.record(of: plan.training.network)
      try observe(
        .note(
          "pruning, \(number): \(record.layers.count) layers have fewer outputs, "
            + "\(record.multiplyAdds.asMillions) million multiply-adds are left of "
            + "\(record.multiplyAddsBefore.asMillions) "
            + "(\(Pruning.percent(Double(record.multiplyAdds) / Double(max(1, record.multiplyAddsBefore)))))"
        ))
    }
    return plan
  }
}

extension Int {
  /// In millions, with one decimal.
  var asMillions: String { ReportFigures.decimal(Double(self) / 1e6, 1) }
}
