// Runs that prune: PyTorch's importances, the pruned bundle, the same bits after a stop, and what is refused.
// tools/make-pruning-fixture made the numbers.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftIR
import GraftTesting
import Testing

@testable import GraftAutodiff
@testable import GraftTraining

private let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/pruning")

/// The network of the fixtures, compiled once.
private let bundle: Result<(folder: TemporaryFolder, path: String), any Error> = Result {
  let folder = try TemporaryFolder()
  let path = folder.path + "/network.graft"
  try Compiler().compile(fixtures.appending(path: "network.onnx").path, to: path)
  return (folder, path)
}

/// Epochs of one batch of all items, which prune half.
private func options() -> FineTuner.Options {
  var options = FineTuner.Options.wholeBatch(of: fixtures.path)
  options.head = nil
  options.normalization = .train
  options.prune = 0.5
  options.epochs = 7
  return options
}

@Suite("Pruning runs")
struct PruningTests {
  @Test("importances are PyTorch's", arguments: ["frozen", "train"])
  func importances(_ mode: String) throws {
    let file = try Data(contentsOf: fixtures.appending(path: "expected.json"))
    let all = try JSONDecoder().decode([String: [String: [Double]]].self, from: file)
    let expected = try #require(all[mode])
    var options = options()
    options.normalization = try #require(.init(rawValue: mode))
    // The importance is of the loss of the labels alone.
    options.teacher = FineTuner.Teacher(bundle: nil, alpha: 0)
    var tuner = try FineTuner(bundle.get().path, options)
    let plan = try tuner.plan { _ in }
    let ready = try tuner.prepare(plan) { _ in }
    var run = try TrainingRun(
      options: ready.stepOptions(plan.options), plan: ready.plan, trainer: ready.trainer,
      data: ready.data, items: ready.items, validation: nil, classCount: ready.plan.outputWidth,
      feed: ready.feed, checkpoint: nil)
    let groups = try ChannelGroups(plan.sources[0])
    var importance = TaylorImportance(
      of: groups, trained: Set(plan.training.specification.groups.keys))
    try run.judge(&importance, round: 1)
    var layers = Set<String>()
    for group in groups.groups {
      let parts = try group.layers.map { layer in
        try #require(
          expected.first {
            layer.hasSuffix("/\($0.key)/Conv") || layer.hasSuffix("/\($0.key)/Gemm")
          })
      }
      layers.formUnion(parts.map(\.key))
      let largest = parts.reduce(0) { $0 + ($1.value.max() ?? 0) }
      for (index, channel) in group.channels.enumerated() {
        let sum = parts.reduce(0) { $0 + $1.value[index] }
        #expect(
          abs(importance[channel] - sum) <= 1e-4 * largest,
          "\(group.layers) \(index): \(importance[channel]) for \(sum)")
      }
    }
    #expect(layers == Set(expected.keys))
  }

  @Test("the mean over minibatches of squares, not the square of the mean")
  func minibatches() throws {
    let bundle = try ModelBundle(opening: bundle.get().path)
    let groups = try ChannelGroups(bundle.loadGraph())
    let group = try #require(groups.groups.first { $0.layers.contains { $0.contains("hidden") } })
    var importance = TaylorImportance(of: groups, trained: ["hidden.weight", "hidden.bias"])
    #expect(importance.parameters == ["hidden.weight", "hidden.bias"])
    let ones = [Float](repeating: 1, count: 24 * 640)
    let bias = (0..<24).map { Float($0) }
    for gradient: Float in [1, -3] {
      importance.add(
        values: ["hidden.weight": ones, "hidden.bias": bias],
        gradients: [
          "hidden.weight": ones.map { $0 * gradient / 640 },
          "hidden.bias": [Float](repeating: gradient, count: 24),
        ])
    }
    // (g · (1 + b))² for g = 1 and −3: on average 5 (1 + b)².
    for (index, channel) in group.channels.enumerated() {
      let expected = 5 * Double((1 + index) * (1 + index))
      #expect(abs(importance[channel] - expected) <= 1e-4 * expected)
    }
  }

  @Test(
    "half the multiply-adds, an ordinary bundle that says what is gone, and the same bits after stops"
  )
  func run() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    let output = folder.path + "/pruned.graft"
    var tuner = try FineTuner(bundle.path, options())
    let report = try tuner.run(to: output)
    let record = try #require(try ModelBundle(opening: output).manifest.fineTuning?.pruning)
    #expect(report.pruning == record)
    let before = try ChannelGroups(ModelBundle(opening: bundle.path).loadGraph())
    let graph = try ModelBundle(opening: output).loadGraph()
    let after = try ChannelGroups(graph)
    #expect(record.multiplyAddsBefore == before.multiplyAdds)
    #expect(record.multiplyAdds == after.multiplyAdds)
    #expect(2 * after.multiplyAdds <= before.multiplyAdds)
    #expect(after.widths.allSatisfy { $0.outputs == 5 || $0.outputs % 8 == 0 })
    for layer in record.layers {
      #expect(after.widths.contains { $0.name == layer.name && $0.outputs == layer.outputs })
      #expect(before.widths.contains { $0.name == layer.name && $0.outputs == layer.outputsBefore })
    }
    #expect(record.parameters < record.parametersBefore)
    let page = try String(contentsOfFile: output + "/report.html", encoding: .utf8)
    #expect(page.contains("Pruned channels") && page.contains("the unpruned network"))

    // Before the second round, and after all.
    let expected = try trainedWeights(of: output)
    for last in [1, 5] {
      var options = options()
      let second = folder.path + "/second\(last).graft"
      options.checkpoint = folder.path + "/state\(last)"
      var stopped = try FineTuner(bundle.path, options)
      stopped.expectStop(after: last, to: second)
      options.resumes = true
      options.threads = 1
      var resumed = try FineTuner(bundle.path, options)
      _ = try resumed.run(to: second)
      #expect(try trainedWeights(of: second) == expected, "stopped after \(last)")
    }

    // It trains again, with another head.
    var again = FineTuner.Options.wholeBatch(of: fixtures.path)
    again.head = .linear
    again.epochs = 2
    var next = try FineTuner(output, again)
    #expect(try next.run(to: folder.path + "/again.graft").epochs.count == 2)
  }

  @Test("compiled, exported and read again, the pruned network computes the same")
  func computes() throws {
    let folder = try TemporaryFolder()
    let output = folder.path + "/pruned.graft"
    var tuner = try FineTuner(bundle.get().path, options())
    _ = try tuner.run(to: output)
    let array = try NPYArray(contentsOf: fixtures.appending(path: "x.npy").path)
    let input = ["input": try Tensor(array.element, shape: array.shape, bytes: array.bytes)]
    let compiled = try #require(try Session(ModelBundle(opening: output)).run(input)["output"])
    let file = folder.path + "/pruned.onnx"
    let exported = try GraftProgram.run(["export", output, "-o", file])
    #expect(exported.status == 0, "\(exported.errors)")
    try Compiler().compile(file, to: folder.path + "/read.graft")
    let read = try #require(
      try Session(ModelBundle(opening: folder.path + "/read.graft")).run(input)["output"])
    #expect(compiled.elements == read.elements && compiled.shape == [12, 5])
    #expect(compiled.elements.contains { $0 != compiled.elements[0] })
  }

  @Test("a teacher with the weight 0 is none; otherwise the unpruned network teaches")
  func teacher() throws {
    let bundle = try bundle.get()
    let given = ["data": fixtures.path, "prune": "0.5", "unfreeze": "all"]
    func plan(_ more: [String: String]) throws -> RunPlan {
      let options = try FineTuningOption.options(
        from: given.merging(more) { $1 }, over: FineTuner.Options(data: ""))
      var tuner = try FineTuner(bundle.path, options)
      return try tuner.plan { _ in }
    }
    let usual = try plan([:])
    #expect(usual.teacher != nil && usual.training.specification.distills)
    #expect(usual.options.head == .keep)
    let none = try plan(["alpha": "0"])
    #expect(none.teacher == nil && !none.training.specification.distills)
    // The record of a run gives the run again.
    for own in [usual, none, try plan(["temperature": "2"])] {
      let record = FineTuningOption.record(of: own.options)
      let again = try FineTuningOption.options(of: record, over: FineTuner.Options(data: ""))
      #expect(FineTuningOption.record(of: again) == record)
      #expect(again.distills == own.options.distills)
    }
  }

  @Test("what cannot be pruned is refused before any work")
  func refusals() throws {
    let bundle = try bundle.get()
    let folder = try TemporaryFolder()
    let base = ["--data", fixtures.path, "-o", folder.path + "/none.graft"]
    for (options, message) in [
      (["--prune", "0"], "--prune must be greater than 0 and below 1, found 0"),
      (["--prune", "1"], "--prune must be greater than 0 and below 1, found 1"),
      (["--prune", "x"], "--prune must be greater than 0 and below 1, found \"x\""),
      (["--prune", "0.5"], "pruning needs --unfreeze all"),
      (["--prune", "0.5", "--unfreeze", "wide"], "pruning needs --unfreeze all"),
      (["--prune", "0.5", "--unfreeze", "all", "--head", "linear"], "train it first"),
      (["--alpha", "0.5"], "--alpha has no effect: there is no --teacher"),
      (["--prune", "0.99", "--unfreeze", "all"], "Choose a smaller --prune"),
    ] {
      let result = try GraftProgram.run(["finetune", bundle.path] + base + options)
      #expect(result.status != 0 && result.errors.contains(message), "\(options): \(result.errors)")
    }
    // A network with at most eight channels in every layer has nothing to lose.
    let narrow = folder.path + "/narrow.graft"
    let training = fixtures.deletingLastPathComponent().appending(path: "training")
    try Compiler().compile(training.appending(path: "network.onnx").path, to: narrow)
    let result = try GraftProgram.run([
      "finetune", narrow, "--data", training.path, "-o", folder.path + "/none.graft", "--prune",
      "0.1", "--unfreeze", "all",
    ])
    #expect(
      result.status == 1 && result.errors.contains("at most 0.0 % of the multiply-adds"),
      "\(result.errors)")
  }
}
