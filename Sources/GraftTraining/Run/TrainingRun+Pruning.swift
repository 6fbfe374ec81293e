// Judging the channels of a network in training.

import GraftAutodiff
import GraftOps
import GraftRuntime

extension TrainingRun {
  /// The number of minibatches on which channels are judged, if the data have as many.
  private static let judgedBatches = 100

  /// Adds minibatches to the importance of channels, without an update. They are those of an epoch after the last, so
  /// that their views are not those of the epochs. Running statistics and counters change.
  mutating func judge(_ importance: inout TaylorImportance, round: Int) throws {
    let epoch = options.epochs + round
    let order = try order(of: epoch)
    let states = trainer.description.states
    let names = importance.parameters
    func elements(_ suffix: String) throws -> [String: [Float]] {
      var found: [String: [Float]] = [:]
      for (index, state) in states.enumerated() where state.name.hasSuffix(suffix) {
        let name = String(state.name.dropLast(suffix.count))
        if names.contains(name) { found[name] = try trainer.state(index) }
      }
      return found
    }
    let values = try elements("")
    try feed.prepare(epoch: epoch - 1, order: order) { _ in }
    for batch in 0..<min(batchCount, Self.judgedBatches) {
      try step(
        rows(of: batch, in: order), batch: batch, epoch: epoch, rate: 0, updates: false)
      importance.add(
        values: values, gradients: try elements(TrainingInterface.gradientSuffix))
    }
  }
}
