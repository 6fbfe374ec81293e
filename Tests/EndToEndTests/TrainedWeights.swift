// What tests of training share: options, a run that is stopped, and the weights of a bundle.

import Graft
import GraftIR
import GraftTraining
import Testing

extension FineTuner.Options {
  /// Everything trains at a constant rate on the twelve items at `folder`, which are one batch.
  static func wholeBatch(of folder: String) -> FineTuner.Options {
    var options = FineTuner.Options(data: folder)
    options.head = .keep
    options.unfreeze = .all
    options.validationSplit = 0
    options.batchSize = 12
    options.schedule = LearningRateSchedule(.constant)
    options.threads = 2
    return options
  }
}

/// The floating-point parameters of the bundle at `path` by name.
func trainedWeights(of path: String) throws -> [String: [Float]] {
  let graph = try ModelBundle(opening: path).loadGraph()
  return Dictionary(
    uniqueKeysWithValues: graph.parameters.compactMap { id in
      guard let name = graph[id].name, let data = graph[id].parameter?.data else { return nil }
      return (name, data.floats())
    })
}

extension FineTuner {
  /// Runs and stops when epoch `last` has ended, as an interrupt does.
  mutating func expectStop(after last: Int, to output: String) {
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try run(to: output) { event in
        if case .finished(let epoch) = event, epoch.epoch == last { throw Stop() }
      }
    }
  }
}
