// Networks that end in a sigmoid, from ONNX files to predictions: a probability of one of two classes, or one
// for each class. Expected numbers are closed forms of binary cross-entropy.

import Foundation
import Graft
import GraftData
import GraftDiagnostics
import GraftTesting
import GraftTraining
import Testing

/// x [N, 4] → Gemm of `units` units, all weights 0.5 → Sigmoid → Clip → Identity, as Keras ends.
private func network(units: Int, auxiliary: Bool = false) -> ModelFile {
  var model = ModelFile()
  model.input("x", ["N", 4])
  model.weights("fc.weight", [units, 4])
  model.weights("fc.bias", [units], value: -0.25)
  model.weights("low", [], value: 1e-7)
  model.weights("high", [], value: 1 - 1e-7)
  model.node(
    "Gemm", ["x", "fc.weight", "fc.bias"], ["z"], name: "fc",
    attributes: [ModelFile.attribute("transB", int: 1)])
  model.node("Sigmoid", ["z"], ["p"])
  model.node("Clip", ["p", "low", "high"], ["y"])
  if auxiliary {
    model.node("Relu", ["x"], ["features"])
    model.output("features", ["N", 4])
  }
  model.output("y", ["N", .value(units)])
  return model
}

private let inputs: [Float] = [
  1, -2, 0.5, 1, 2, 1, 0, -0.5, -1, -1, 0.25, 0, 0, 3, 1, -1, 0.5, 0.5, -2, 0, 1, 0, 0, 1,
]

private func logit(_ item: Int) -> Double {
  0.5 * inputs[item * 4..<(item + 1) * 4].reduce(0.0) { $0 + Double($1) } - 0.25
}

private func loss(_ logit: Double, _ target: Int) -> Double {
  max(logit, 0) - logit * Double(target) + log1p(exp(-abs(logit)))
}

private struct Files {
  let folder = try? TemporaryFolder()
  let path: String
  let bundle: String

  init(units: Int, auxiliary: Bool = false, answers: [Int64], shape: [Int]) throws {
    path = try #require(folder).path
    bundle = path + "/network.graft"
    let model = path + "/network.onnx"
    try Data(network(units: units, auxiliary: auxiliary).bytes).write(to: URL(filePath: model))
    var options = Compiler.Options()
    options.tuning = .off
    try Compiler(options).compile(model, to: bundle)
    try Data(NPYArray(inputs, shape: [6, 4]).encoded()).write(to: URL(filePath: path + "/x.npy"))
    try Data(NPYArray(answers, shape: shape).encoded()).write(to: URL(filePath: path + "/y.npy"))
  }

  /// A run that learns next to nothing: its first loss is that of the network as it is.
  func firstLoss() throws -> (report: FineTuner.Report, tuned: String) {
    var options = FineTuner.Options(data: path)
    options.head = .keep
    options.validationSplit = 0
    options.epochs = 1
    options.batchSize = 6
    options.learningRate = 1e-9
    var tuner = try FineTuner(bundle, options)
    let tuned = path + "/tuned.graft"
    return (try tuner.run(to: tuned), tuned)
  }
}

@Suite("Networks that end in a sigmoid")
struct SigmoidNetworkTests {
  @Test("one unit tells two classes apart")
  func binary() throws {
    let answers: [Int64] = [0, 1, 0, 1, 1, 0]
    let files = try Files(units: 1, auxiliary: true, answers: answers, shape: [6])
    let expected = answers.indices.reduce(0.0) { $0 + loss(logit($1), Int(answers[$1])) } / 6
    var evaluator = try Evaluator(ModelBundle(opening: files.bundle), threads: 1)
    let report = try evaluator.evaluate(files.path)
    #expect(evaluator.warnings.contains { $0.message.contains("\"y\" is used") })
    let right = answers.indices.count { (logit($0) > 0) == (answers[$0] == 1) }
    #expect(abs(report.top1 - Double(right) / 6) < 1e-12)
    #expect(abs((report.loss ?? 0) - expected) < 1e-5)
    let (run, tuned) = try files.firstLoss()
    #expect(abs(run.epochs[0].loss - expected) < 1e-5)
    #expect(run.epochs[0].accuracy == Double(right) / 6)
    let manifest = try ModelBundle(opening: tuned).manifest
    #expect(manifest.outputActivation == .sigmoid && manifest.outputs.map(\.name) == ["y"])
  }

  @Test("several units each have a class of their own")
  func multiLabel() throws {
    let answers: [Int64] = [0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1]
    let files = try Files(units: 3, answers: answers, shape: [6, 3])
    let expected = answers.indices.reduce(0.0) { $0 + loss(logit($1 / 3), Int(answers[$1])) } / 18
    var evaluator = try Evaluator(ModelBundle(opening: files.bundle), threads: 1)
    let report = try evaluator.evaluate(files.path)
    let right = answers.indices.count { (logit($0 / 3) >= 0) == (answers[$0] == 1) }
    #expect(abs((report.accuracy ?? 0) - Double(right) / 18) < 1e-12)
    #expect(abs((report.loss ?? 0) - expected) < 1e-5)
    let (run, _) = try files.firstLoss()
    #expect(abs(run.epochs[0].loss - expected) < 1e-5)
    #expect(abs((run.epochs[0].accuracy ?? 0) - Double(right) / 18) < 1e-12)
  }
}
