// `graft dump --stage training`: what is frozen, cached, trained, and what forward, backward and update are.

import Foundation
import GraftIR
import GraftTesting
import Testing

@testable import Graft
@testable import GraftTraining

private let model = URL(filePath: #filePath).deletingLastPathComponent()
  .appending(path: "Fixtures/training/network.onnx").path

@Suite("Dumps of a training step")
struct TrainingDumpTests {
  private static func moment() throws -> TrainingStage {
    var options = TrainableOptions(unfreeze: .scope("depthwise"))
    options.classes = 3
    options.optimizer = .adam
    return try TrainingStage(of: model, options)
  }

  @Test func saysWhatTrainsAndWhatDoesNot() throws {
    let moment = try Self.moment()
    let states = moment.graph.parameters.filter { moment.graph[$0].parameter?.isTrained == true }
    let names = Set(states.compactMap { moment.graph[$0].name })
    let weights = ["depthwise", "grouped", "fc"].flatMap { ["\($0).weight", "\($0).bias"] }
    #expect(
      names
        == Set(weights + weights.flatMap { ["\($0)/first_moment", "\($0)/second_moment"] }))
    // conv1, bn1, relu, max_pool, conv2, bn2, down, add, relu.
    #expect(
      moment.frozen.map(\.opcode) == [
        "convolution", "batch_normalization", "relu", "max_pool", "convolution",
        "batch_normalization", "convolution", "add", "relu",
      ])
    let parameters = [162, 24, 0, 0, 440, 32, 48, 0, 0]
    #expect(moment.frozen.map(\.parameters) == parameters)
    // The block's result: 8 channels of 3 × 3 float32.
    #expect(moment.cached.map(\.bytesPerImage) == [8 * 3 * 3 * 4])
    func phases(of opcode: String) -> [TrainingStage.Phase] {
      zip(moment.graph.nodes, moment.phases).filter { $0.0.opcode.rawValue == opcode }.map(\.1)
    }
    #expect(phases(of: "adam_update") == Array(repeating: .update, count: 6))
    #expect(phases(of: "convolution_weight_gradient") == [.backward, .backward])
    #expect(phases(of: "cross_entropy") == [.forward])
    #expect(phases(of: "convolution").prefix(2) == [.forward, .forward])
  }

  @Test func textParsesBack() throws {
    let moment = try Self.moment()
    let text = moment.text
    #expect(try Graph(parsing: text) == moment.graph)
    for comment in ["  // forward", "  // backward", "  // update", "// frozen: 9 operators"] {
      #expect(text.contains("\n\(comment)\n") || text.hasPrefix(comment), "\(comment)")
    }
  }

  @Test func everyFormatHasThePhases() throws {
    let moment = try Self.moment()
    let json = try JSONSerialization.jsonObject(with: Data(GraphDocument(moment).json().utf8))
    let document = try #require(json as? [String: Any])
    let nodes = try #require(document["nodes"] as? [[String: Any]])
    #expect(nodes.compactMap { $0["phase"] as? String } == moment.phases.map(\.rawValue))
    let training = try #require(document["training"] as? [String: [Any]])
    #expect(training["frozen"]?.count == 9 && training["cached"]?.count == 1)
    let dot = GraphDiagram.dot(moment.graph, of: moment)
    for phase in TrainingStage.Phase.allCases {
      #expect(dot.contains("subgraph cluster_\(phase.rawValue) {"))
    }
    #expect(dot.contains("frozen -> ") && dot.contains("shape=cylinder"))
    #expect(try GraphDiagram.svg(moment.graph, of: moment).contains("<svg"))
    #expect(try GraphPage.html(moment).contains("\"phase\":\"backward\""))
  }

  /// What a ResNet's backward pass makes again: normalizations with their activations, and conversions of layouts.
  @Test func everyFormatMarksWhatIsRecomputed() throws {
    let resnet = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "models/resnet20-cifar10.onnx").path
    var options = TrainableOptions(unfreeze: .all)
    options.head = .keep
    options.normalization = .train
    let moment = try TrainingStage(of: resnet, options)
    let again = zip(moment.graph.nodes, moment.recomputed).filter(\.1).map(\.0)
    try #require(!again.isEmpty && again.count < moment.graph.nodeCount / 4)
    for node in again {
      // The first run has the same operator and the same origin. Conversions of layouts have none.
      let same = moment.graph.nodes.filter {
        $0.opcode == node.opcode && $0.origins == node.origins
      }
      #expect(
        node.origins.isEmpty
          ? node.opcode == "convert_layout" && same.dropFirst().contains(node)
          : same.count == 2 && same.last == node)
    }
    #expect(zip(moment.phases, moment.recomputed).allSatisfy { !$1 || $0 == .backward })
    #expect(moment.text.contains("\n  // backward, recomputed\n"))
    #expect(try Graph(parsing: moment.text) == moment.graph)
    let json = try JSONSerialization.jsonObject(with: Data(GraphDocument(moment).json().utf8))
    let nodes = try #require((json as? [String: Any])?["nodes"] as? [[String: Any]])
    #expect(nodes.compactMap { $0["recomputed"] as? Bool } == moment.recomputed)
    let dot = GraphDiagram.dot(moment.graph, of: moment)
    #expect(dot.split(separator: "rounded,filled,dashed").count == again.count + 1)
    #expect(try GraphPage.html(moment).contains("\"recomputed\":true"))
  }

  /// A bundle that was fine-tuned knows how.
  @Test func aTunedBundleShowsItsOwnStep() throws {
    try withTemporaryFolder { folder in
      let (plain, tuned) = (folder + "/plain.graft", folder + "/tuned.graft")
      try Compiler().compile(model, to: plain)
      var options = FineTuner.Options(
        data: URL(filePath: model).deletingLastPathComponent().path)
      options.unfreeze = .scope("grouped")
      options.optimizer = .adamw
      options.epochs = 1
      options.batchSize = 4
      options.seed = 3
      var tuner = try FineTuner(plain, options)
      _ = try tuner.run(to: tuned)
      let made = try #require(try ModelBundle(opening: tuned).manifest.fineTuning)
      #expect(made.unfreeze == "grouped" && made.optimizer == "adamw" && made.seed == 3)
      #expect(
        made.weightsSHA256
          == (try ModelBundle(opening: plain).manifest.files["weights.safetensors"]?.sha256))
      func dump(_ arguments: [String]) throws -> GraftProgram.Result {
        try GraftProgram.run(["dump", tuned, "--stage", "training"] + arguments)
      }
      let own = try dump([])
      #expect(own.status == 0 && own.output.contains("adam_update"), "\(own.errors)")
      #expect(
        try dump(["--unfreeze", "grouped", "--head", "keep", "--optimizer", "adamw"]).output
          == own.output)
      #expect(try dump(["--unfreeze", "all"]).output != own.output)
      #expect(try dump(["--unfreeze", "layer9"]).status == 1)
      #expect(try GraftProgram.run(["dump", tuned, "--unfreeze", "all"]).status == 64)
      #expect(try dump(["--after", "fuse-relu"]).status == 64)
    }
  }
}
