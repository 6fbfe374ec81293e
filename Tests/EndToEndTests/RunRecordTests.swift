// What a run leaves beside its network: heat maps against PyTorch's, the records in the bundle and elsewhere, the
// command that repeats it, the progress line on a terminal.

import Foundation
import GraftAutodiff
import GraftData
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let root = URL(filePath: #filePath).deletingLastPathComponent()
  .deletingLastPathComponent().deletingLastPathComponent()
private let fixtures = root.appending(path: "Tests/EndToEndTests/Fixtures/training")

/// The network of the training fixtures as a bundle that takes pictures, with a folder of digits.
private func setting(in folder: String, digits: Int = 6) throws -> (bundle: String, data: String) {
  var options = Compiler.Options()
  options.preprocessing = "cifar10"
  let bundle = folder + "/network.graft"
  try Compiler(options).compile(fixtures.appending(path: "network.onnx").path, to: bundle)
  let files = FileManager.default
  for name in ["0", "1", "<b>&"] {
    let source = root.appending(path: "models/digits/train/\(name == "<b>&" ? "8" : name)").path
    let target = folder + "/digits/" + name
    try files.createDirectory(atPath: target, withIntermediateDirectories: true)
    for picture in try files.contentsOfDirectory(atPath: source).sorted().prefix(digits) {
      try files.copyItem(atPath: source + "/" + picture, toPath: target + "/" + picture)
    }
  }
  return (bundle, folder + "/digits")
}

@Suite("Records of a run")
struct RunRecordTests {
  private struct HeatMap: Decodable {
    var item: Int
    var `class`: Int
    var depth: Int
    var heat: [Double]
  }

  /// tools/make-network-training-fixture made the numbers with autograd in float64.
  @Test func heatMapsArePyTorchs() throws {
    try withTemporaryFolder { folder in
      let path = folder + "/network.graft"
      try Compiler().compile(fixtures.appending(path: "network.onnx").path, to: path)
      let network = try ModelBundle(opening: path).loadGraph()
      let expected = try JSONDecoder().decode(
        [HeatMap].self, from: Data(contentsOf: fixtures.appending(path: "gradcam.json")))
      #expect(expected.count == 6 && expected.contains { ($0.heat.max() ?? 0) > 1e-3 })
      // The last activation, the two convolutions before it, the block's activation.
      let maps = try ClassActivation.featureMaps(of: network)
      let activations = maps.filter { map in
        ["clip", "relu"].contains(network.producer(of: map)?.opcode.rawValue)
      }
      #expect(maps.first == activations.first)
      let images = try NPYArray(contentsOf: fixtures.appending(path: "x.npy").path).floats()
      for one in expected {
        let activation = try ClassActivation(network, at: activations[one.depth])
        var evaluator = ReferenceEvaluator(network)
        var features: [Float] = []
        let input = network[network.inputs[0]].name ?? ""
        let pixels = 3 * 12 * 12
        _ = try evaluator.run([
          input: .float32(
            try DenseTensor(
              shape: [1, 3, 12, 12],
              elements: Array(images[one.item * pixels..<(one.item + 1) * pixels])))
        ]) { value, tensor in
          if value == activations[one.depth] { features = tensor.doubles?.map { Float($0) } ?? [] }
        }
        var selection: [Float] = [0, 0, 0, 0]
        selection[one.class] = 1
        let found = try activation.heatMap(features: features, selection: selection)
        #expect(found.height * found.width == one.heat.count)
        for (value, wanted) in zip(found.values, one.heat) {
          #expect(abs(value - wanted) < 1e-6 + 1e-4 * wanted)
        }
      }
    }
  }

  @Test func recordsAreInTheBundleAndTheCommandRepeatsTheRun() throws {
    try withTemporaryFolder { folder in
      let (bundle, data) = try setting(in: folder)
      let output = folder + "/it's tuned.graft"
      let run = try GraftProgram.run([
        "finetune", bundle, "--data", data, "-o", output, "--epochs", "2", "--lr", "0.05",
        "--batch-size", "5", "--unfreeze", "depthwise", "--head", "mlp:6", "--optimizer", "adamw",
        "--warmup", "0.5", "--schedule", "step", "--step-size", "1", "--gamma", "0.5",
        "--clip-norm", "1", "--seed", "4", "--val-split", "0.4",
      ])
      try #require(run.status == 0, "\(run.errors)")
      #expect(run.errors.contains("epoch      loss   acc %  val loss  val acc %"))
      let verified = try GraftProgram.run(["verify", output])
      #expect(verified.status == 0, "\(verified.errors)")
      let names = try FileManager.default.contentsOfDirectory(atPath: output)
      #expect(names.contains { $0.hasPrefix("events.out.tfevents.") })
      let metrics = try String(contentsOfFile: output + "/metrics.jsonl", encoding: .utf8)
        .split(separator: "\n").map {
          try JSONDecoder().decode(FineTuner.Epoch.self, from: Data($0.utf8))
        }
      #expect(metrics.map(\.epoch) == [1, 2])

      let page = try String(contentsOfFile: output + "/report.html", encoding: .utf8)
      for outside in ["http:", "https:", "src=\"/", "<script", "<b>&</b>", "url("] {
        #expect(!page.contains(outside), "\(outside)")
      }
      #expect(page.contains("&lt;b&gt;&amp;"))
      #expect(page.contains("Expected calibration error") || page.contains("calibration error"))
      let command = try #require(
        page.firstMatch(of: /<pre>(.*)<\/pre>/).map { String($0.output.1) }
      ).replacing("&#39;", with: "'").replacing("&amp;", with: "&")
      let weights = URL(filePath: output + "/weights.safetensors")
      let first = try Data(contentsOf: weights)
      try FileManager.default.removeItem(atPath: output)
      let graft = URL(filePath: try GraftProgram.locate()).deletingLastPathComponent().path
      let again = try GraftProgram.run(
        "/bin/sh", ["-c", command],
        environment: ProcessInfo.processInfo.environment.merging(
          ["PATH": graft + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "")]) { $1 })
      try #require(again.status == 0, "\(command): \(again.errors)")
      #expect(try Data(contentsOf: weights) == first)
    }
  }

  @Test func recordsGoWhereTheyAreWanted() throws {
    try withTemporaryFolder { folder in
      let (bundle, data) = try setting(in: folder)
      var options = FineTuner.Options(data: data)
      options.epochs = 2
      options.batchSize = 6
      options.metrics = folder + "/m.jsonl"
      options.tensorboard = folder + "/board/run"
      options.report = folder + "/r.html"
      var tuner = try FineTuner(bundle, options)
      var sizes: [Int] = []
      var progress: FineTuner.Progress?
      _ = try tuner.run(to: folder + "/tuned.graft") { event in
        if case .step(let step) = event { progress = step }
        if case .finished = event {
          let board = folder + "/board/run"
          let name = try FileManager.default.contentsOfDirectory(atPath: board).first ?? ""
          sizes.append(try Data(contentsOf: URL(filePath: board + "/" + name)).count)
        }
      }
      // Every epoch is in the file as soon as it is over.
      #expect(sizes.count == 2 && sizes[0] > 100 && sizes[1] > sizes[0])
      #expect(progress?.epochs == 2 && progress?.done == progress?.count)
      let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/tuned.graft")
      #expect(!names.contains(where: RunRecords.Name.isRecord))
      #expect(FileManager.default.fileExists(atPath: folder + "/m.jsonl"))
      #expect(FileManager.default.fileExists(atPath: folder + "/r.html"))
      // A second run of the same network does not care for the records of the first.
      options.report = folder + "/missing/r.html"
      #expect(throws: (any Error).self) {
        var tuner = try FineTuner(bundle, options)
        _ = try tuner.run(to: folder + "/other.graft")
      }
    }
  }

  @Test func aTerminalHasALineThatMoves() throws {
    try withTemporaryFolder { folder in
      let (bundle, data) = try setting(in: folder)
      let program = try GraftProgram.locate()
      let run = try GraftProgram.run(
        "/usr/bin/script",
        [
          "-qec",
          "stty cols 78; \(program) finetune \(bundle) --data \(data) -o \(folder)/t.graft --batch-size 4",
          folder + "/typescript",
        ])
      try #require(run.status == 0, "\(run.output)")
      let lines = run.output.split(separator: "\r\u{1b}[2K").map {
        $0.prefix { !$0.isNewline }
      }
      let steps = lines.filter { $0.contains("images/s") && $0.hasPrefix("epoch 1/10  ") }
      #expect(steps.contains { $0.contains("loss ") && $0.contains("accuracy ") }, "\(lines)")
      #expect(lines.allSatisfy { $0.count < 78 || !$0.hasPrefix("epoch 1/10") })
    }
  }

  @Test func everyOptionIsInTheCommand() {
    var options = FineTuner.Options(data: "data")
    #expect(
      options.arguments(bundle: "a", output: "b")
        == ["finetune", "a", "--data", "data", "-o", "b"])
    options.validationData = "val"
    options.validationSplit = 0.5
    options.output = "logits"
    options.head = .mlp(hidden: 3)
    options.unfreeze = .last(2)
    options.normalization = .train
    options.prune = 0.25
    options.epochs = 3
    options.batchSize = 4
    options.optimizer = .adam
    options.learningRate = 0.5
    options.headLearningRate = 0.25
    options.layerDecay = 0.875
    options.momentum = 0.75
    options.isNesterov = true
    options.weightDecay = 0.125
    options.schedule = LearningRateSchedule(.step(size: 2, gamma: 0.5), warmup: 1.5)
    options.loss = .meanSquaredError
    options.labelSmoothing = 0.0625
    options.classWeights = .balanced
    options.clipNorm = 2
    options.accumulate = 6
    options.augmentation = FineTuner.Augmentation([.flip])
    options.auxiliary = [.init("early", weight: 0.5), .init("late", weight: 1)]
    options.mixing.mixup = 0.2
    options.mixing.cutmix = 1
    options.cacheViews = 8
    options.teacher = FineTuner.Teacher(bundle: "t", temperature: 3, alpha: 0.5)
    options.earlyStop = 5
    options.seed = 9
    options.memoryLimit = 1_000_000
    options.threads = 77
    options.checkpoint = "c"
    options.metrics = "m"
    options.tensorboard = "tb"
    options.report = "r"
    // Every option that a command can repeat has another value than its default by now.
    for option in FineTuningOption.all where !["resume", "overwrite"].contains(option.name) {
      #expect(
        option.name == "data"
          || options.arguments(bundle: "a", output: "b").contains("--" + option.name),
        "\(option.name)")
    }
    #expect(
      options.command(bundle: "a b", output: "o")
        == "graft finetune 'a b' --data data -o o --val val --val-split 0.5 --output logits "
        + "--auxiliary early=0.5,late=1 --head mlp:3 --unfreeze last:2 --bn train --prune 0.25 --epochs 3 "
        + "--batch-size 4 --optimizer adam --lr 0.5 --head-lr 0.25 --layer-decay 0.875 --momentum 0.75 "
        + "--nesterov --weight-decay 0.125 --loss mse --clip-norm 2 --accumulate 6 --schedule step --warmup 1.5 "
        + "--step-size 2 --gamma 0.5 --early-stop 5 --label-smoothing 0.0625 --class-weights balanced --augment flip "
        + "--mixup 0.2 --cutmix 1 --cache-views 8 --teacher t --temperature 3 --alpha 0.5 --seed 9 "
        + "--memory-limit 1000000 --threads 77 --checkpoint c --metrics m --tensorboard tb --report r"
    )
  }
}
