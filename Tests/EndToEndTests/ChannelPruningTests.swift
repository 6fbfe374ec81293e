// Removing channels from networks: a channel that nothing reads with a weight other than 0 changes no output, in
// every network; and which channels belong together. Expected outputs are those of the network with the zeros.

import Foundation
import Graft
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftAutodiff

@Suite("Removing channels")
struct ChannelPruningTests {
  /// Random channels of groups of which at least one stays.
  private func someChannels(
    _ groups: ChannelGroups, _ random: inout SplitMix
  ) -> Set<ChannelGroups.Channel> {
    groups.groups.reduce(into: []) { removed, group in
      guard group.channels.count > 1 else { return }
      let count = Int.random(in: 1..<group.channels.count, using: &random)
      removed.formUnion(group.channels.shuffled(using: &random).prefix(count))
    }
  }

  /// The graph with a weight of 0 wherever a layer reads one of the channels.
  private func ignoring(
    _ removed: Set<ChannelGroups.Channel>, _ groups: ChannelGroups
  ) throws -> Graph {
    var graph = groups.graph
    for layer in groups.layers {
      for axis in layer.axes.keys where axis != layer.outputAxis {
        let weight = try #require(layer.node.operand(1))
        let channels = try #require(groups.map.channels(of: weight, axis: axis))
        var parameter = try #require(graph[weight].parameter)
        let shape = try #require(graph.type(of: weight).shape.constants)
        var elements = try #require(parameter.data).floats()
        let inner = shape[(axis + 1)...].reduce(1, *)
        for position in elements.indices
        where removed.contains(channels[position / inner % shape[axis]]) {
          elements[position] = 0
        }
        parameter.data = try TensorData(elements, shape: shape)
        graph[weight].definition = .parameter(parameter)
      }
    }
    return graph
  }

  private func outputs(_ graph: Graph, _ inputs: [String: HostTensor]) throws -> [String: [Double]]
  {
    var evaluator = ReferenceEvaluator(graph, precision: .double)
    return try evaluator.run(inputs).mapValues { $0.doubles ?? [] }
  }

  /// - Returns: how many channels were removed.
  private func expectIdentity(
    _ graph: Graph, _ inputs: [String: HostTensor], seed: UInt64, _ name: String
  ) throws -> Int {
    let groups = try ChannelGroups(graph)
    var random = SplitMix(seed: seed)
    // Channels of weights that the graph computes cannot be set to 0 in a parameter.
    guard
      groups.layers.allSatisfy({ $0.node.operand(1).map { graph[$0].parameter != nil } ?? false })
    else { return 0 }
    let removed = someChannels(groups, &random)
    guard !removed.isEmpty else { return 0 }
    let smaller = try graph.removing(removed, in: groups.map)
    let expected = try outputs(ignoring(removed, groups), inputs)
    let found = try outputs(smaller, inputs)
    for (output, values) in expected {
      let own = try #require(found[output])
      let largest = values.map(abs).max() ?? 0
      let worst = zip(own, values).map { abs($0 - $1) }.max() ?? 0
      #expect(own.count == values.count && worst <= 1e-9 * max(largest, 1), "\(name): \(output)")
    }
    return removed.count
  }

  @Test("fixture networks without ignored channels give the same outputs")
  func fixtures() throws {
    var pruned: Set<String> = []
    for (index, fixture) in ModelFixture.all.enumerated() {
      let model = try SourceModel(reading: fixture.modelPath)
      let inputs = try fixture.loadInputs().mapValues { tensor in
        try HostTensor(
          TensorData(tensor.dtype, tensor.shape, in: MemoryBytes(tensor.bytes)), precision: .double)
      }
      let count = try expectIdentity(model.graph, inputs, seed: UInt64(index), fixture.name)
      if count > 0 { pruned.insert(fixture.name) }
    }
    // At least the shapes of the usual families.
    let families: Set = [
      "residual_block", "dense_block", "inception_block", "shuffle_block", "squeeze_excite", "unet",
      "classifier",
    ]
    #expect(families.subtracting(pruned) == [], "\(pruned.sorted())")
  }

  @Test("random networks without ignored channels give the same outputs", arguments: 0..<40)
  func randomNetworks(_ seed: Int) throws {
    var network = RandomNetwork(seed: UInt64(seed))
    let graph = try network.make()
    var random = SplitMix(seed: 77)
    let image = (0..<(2 * 3 * 64)).map { _ in Float(random.number(in: -1...1) as Double) }
    let input = try HostTensor(TensorData(image, shape: [2, 3, 8, 8]), precision: .double)
    let count = try expectIdentity(graph, ["x": input], seed: UInt64(seed), "\(graph.text)")
    #expect(count > 0, "\(graph.text)")
  }

  @Test("ResNet-20 has a group for each first convolution of a block and one for each stage")
  func resNet() throws {
    let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "models/resnet20-cifar10.onnx").path
    let groups = try ChannelGroups(SourceModel(reading: path).graph)
    let sizes = groups.groups.map(\.channels.count).sorted()
    #expect(sizes == [16, 16, 16, 16, 32, 32, 32, 32, 64, 64, 64, 64])
    // The stem and its three blocks; the others have a convolution in their shortcut.
    #expect(
      groups.groups.map(\.layers.count).sorted() == Array(repeating: 1, count: 9) + [4, 4, 4])
    #expect(groups.kept.count == 1)
    #expect(groups.multiplyAdds == 40_813_184)
    #expect(groups.multiplyAdds(keeping: groups.groups.map(\.channels.count)) == 40_813_184)
  }

  @Test("a shortcut that pads channels shares those in the middle")
  func paddedShortcut() throws {
    var network = RandomNetwork(seed: 3)
    let graph = try network.makePaddedShortcut()
    let groups = try ChannelGroups(graph)
    #expect(groups.groups.map(\.layers) == [["n0", "n1"], ["n1"], ["n5"]])
    #expect(groups.groups.map(\.channels.count) == [16, 16, 8])
    // Of the middle of "n1", which is the stem's.
    let smaller = try graph.removing([
      ChannelCut(parameter: "w1", axis: 0, indices: [0, 2, 4]),
      ChannelCut(parameter: "w2", axis: 0, indices: [1, 31]),
    ])
    #expect(try ChannelGroups(smaller).widths.map(\.outputs) == [13, 27, 8, 3])
    let pad = try #require(smaller.nodes.first { $0.opcode == Pad.opcode })
    #expect(try Pad(attributes: pad.attributes).pads == [0, 7, 0, 0, 0, 7, 0, 0])
    let image = (0..<(2 * 3 * 64)).map { Float($0 % 11) - 5 }
    let input = try HostTensor(TensorData(image, shape: [2, 3, 8, 8]), precision: .double)
    #expect(try expectIdentity(graph, ["x": input], seed: 1, "padded shortcut") > 0)
  }

  @Test("what is predicted for the network without channels is what it has")
  func multiplyAdds() throws {
    for seed in 0..<20 {
      var network = RandomNetwork(seed: UInt64(seed))
      let groups = try ChannelGroups(network.make())
      var choice = ChannelChoice(groups, vector: 16)
      let half = 0.5 * Double(groups.multiplyAdds)
      let cuts = choice.remove(downTo: half) { channel in
        groups.groups.lazy.compactMap { $0.channels.firstIndex(of: channel) }.first.map {
          Double($0 % 7)
        } ?? 0
      }
      let smaller = try ChannelGroups(groups.graph.removing(cuts))
      let predicted = groups.multiplyAdds(keeping: choice.counts)
      #expect(abs(predicted - Double(smaller.multiplyAdds)) <= 1e-6 * predicted, "\(seed)")
      #expect(predicted <= half || predicted == ChannelChoice.leastMultiplyAdds(groups, vector: 16))
    }
  }

  @Test("the least important channels for what they save go first, in multiples of eight")
  func choice() throws {
    var graph = Graph(name: "two")
    let x = graph.addInput("x", TensorType(.float32, [.batch, 4, 6, 6]))
    func weight(_ name: String, _ shape: [Int]) throws -> ValueID {
      let data = try TensorData(Array(repeating: 0.5, count: shape.reduce(1, *)), shape: shape)
      return graph.addParameter(
        name, TensorType(.float32, TensorShape(shape)), Parameter(data: data))
    }
    let first = try graph.append(Convolution(), [x, weight("a", [20, 4, 1, 1])], origins: ["a"])
    let second = try graph.append(
      Convolution(), [first[0], weight("b", [16, 20, 1, 1])], origins: ["b"])
    let last = try graph.append(
      Convolution(), [second[0], weight("c", [3, 16, 1, 1])], origins: ["c"])
    graph.outputs = [GraphOutput(name: "y", value: last[0])]
    let groups = try ChannelGroups(graph)
    #expect(groups.kept == [.init(layer: "c", reason: "they are the output \"y\"")])
    let outputs = ["a", "b"].map { name in
      groups.groups.first { $0.layers == [name] }?.channels ?? []
    }
    try #require(outputs.map(\.count) == [20, 16])
    // Of a, the first four cost nothing; of b, nothing is important but the last eight.
    func importance(_ channel: ChannelGroups.Channel) -> Double {
      if let place = outputs[0].firstIndex(of: channel) { return place < 4 ? 0 : 1 }
      return (outputs[1].firstIndex(of: channel) ?? 0) < 8 ? 0.01 : 100
    }
    let total = groups.multiplyAdds
    #expect(total == 36 * (20 * 4 + 16 * 20 + 3 * 16))
    var few = ChannelChoice(groups, vector: 1)
    #expect(
      few.remove(downTo: Double(total - 1), importance: importance)
        == [ChannelCut(parameter: "a", axis: 0, indices: [0, 1, 2, 3])])
    var more = ChannelChoice(groups, vector: 1)
    #expect(
      more.remove(downTo: 0.6 * Double(total), importance: importance) == [
        ChannelCut(parameter: "a", axis: 0, indices: [0, 1, 2, 3]),
        ChannelCut(parameter: "b", axis: 0, indices: Array(0..<8)),
      ])
    // At least eight outputs of each layer stay, however much is to go.
    var all = ChannelChoice(groups, vector: 1)
    let smallest = try graph.removing(all.remove(downTo: 0, importance: importance))
    #expect(try ChannelGroups(smallest).widths.map(\.outputs) == [8, 8, 3])
    #expect(throws: (any Error).self) {
      try graph.removing([ChannelCut(parameter: "c", axis: 0, indices: [0])])
    }
    #expect(throws: (any Error).self) {
      try graph.removing([ChannelCut(parameter: "a", axis: 0, indices: [20])])
    }
  }
}

/// Networks of what convolutional networks have, from random numbers.
private struct RandomNetwork {
  private var random: SplitMix
  private var graph = Graph(name: "random")
  private var images: [ValueID] = []
  private var names = 0

  init(seed: UInt64) { random = SplitMix(seed: seed) }

  private mutating func pick(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }

  private func channels(_ value: ValueID) -> Int { graph.type(of: value).shape[1].constant ?? 0 }
  private func size(_ value: ValueID) -> Int { graph.type(of: value).shape[2].constant ?? 0 }

  private mutating func weight(_ shape: [Int], in range: ClosedRange<Double> = -1...1) throws
    -> ValueID
  {
    names += 1
    let elements = (0..<shape.reduce(1, *)).map { _ in Float(random.number(in: range)) }
    return graph.addParameter(
      "w\(names)", TensorType(.float32, TensorShape(shape)),
      Parameter(data: try TensorData(elements, shape: shape)))
  }

  private mutating func node(_ operation: any Operator, _ operands: [ValueID?]) throws -> ValueID {
    try graph.append(operation, operands, origins: ["n\(graph.nodeCount)"])[0]
  }

  private mutating func convolution(_ x: ValueID, to outputs: Int, groups: Int = 1) throws
    -> ValueID
  {
    let kernel = pick(0..<2) == 0 ? 1 : 3
    let pad = kernel / 2
    return try node(
      Convolution(pads: [pad, pad, pad, pad], groups: groups),
      [
        x, weight([outputs, channels(x) / groups, kernel, kernel]),
        pick(0..<2) == 0 ? nil : weight([outputs]),
      ])
  }

  /// A network with a residual block whose shortcut takes every second pixel and pads channels.
  mutating func makePaddedShortcut() throws -> Graph {
    let x = graph.addInput("x", TensorType(.float32, [.batch, 3, 8, 8]))
    let stem = try node(Convolution(), [x, weight([16, 3, 1, 1])])
    let main = try node(
      Convolution(strides: [2, 2], pads: [1, 1, 1, 1]), [stem, weight([32, 16, 3, 3])])
    let pixels = try node(
      Slice(axes: [2, 3], starts: [0, 0], extents: [4, 4], steps: [2, 2]), [stem])
    let padded = try node(Pad(pads: [0, 8, 0, 0, 0, 8, 0, 0]), [pixels])
    let sum = try node(Add(), [main, padded])
    let last = try node(Convolution(), [sum, weight([8, 32, 1, 1])])
    try finish(last, isPooled: true)
    return graph
  }

  private mutating func finish(_ last: ValueID, isPooled: Bool) throws {
    let features = isPooled ? try node(GlobalAveragePool(), [last]) : last
    let rows = try node(Flatten(), [features])
    let y = try node(Gemm(transposesB: true), [rows, weight([3, channels(rows)]), weight([3])])
    graph.outputs = [GraphOutput(name: "y", value: y)]
    graph.removeDeadCode()
    try graph.verify()
  }

  /// A graph from x [batch, 3, 8, 8] to y [batch, 3].
  mutating func make() throws -> Graph {
    let x = graph.addInput("x", TensorType(.float32, [.batch, 3, 8, 8]))
    images = [try convolution(x, to: 8)]
    for _ in 0..<14 { images.append(try layer(images[max(0, images.count - 1 - pick(0..<3))])) }
    try finish(images[images.count - 1], isPooled: pick(0..<2) == 0)
    return graph
  }

  private mutating func layer(_ x: ValueID) throws -> ValueID {
    let count = channels(x)
    switch pick(0..<12) {
    case 0, 1: return try convolution(x, to: [6, 8, 12][pick(0..<3)])
    case 2: return try convolution(x, to: count * (1 + pick(0..<2)), groups: count)
    case 3: return count % 2 == 0 ? try convolution(x, to: 8, groups: 2) : x
    case 4:
      return try node(
        BatchNormalization(),
        [
          x, weight([count]), weight([count]), weight([count]), weight([count], in: 0.5...2),
        ])
    case 5: return try node(Relu(), [x])
    case 6:
      let fitting = images.filter { graph.type(of: $0) == graph.type(of: x) }
      return try node(Add(), [x, fitting.isEmpty ? x : fitting[pick(0..<fitting.count)]])
    case 7:
      let fitting = images.filter { size($0) == size(x) }
      return try node(Concatenate(axis: 1), [x, fitting[pick(0..<fitting.count)]])
    case 8:
      let start = pick(0..<count)
      return try node(
        Slice(axes: [1], starts: [start], extents: [count - start], steps: [1]), [x])
    case 9:
      let (before, after) = (pick(0..<3), pick(0..<3))
      return try node(Pad(pads: [0, before, 0, 0, 0, after, 0, 0]), [x])
    case 10:
      let pooled = try node(GlobalAveragePool(), [x])
      let less = try node(Relu(), [convolution(pooled, to: 4)])
      let gate = try node(Sigmoid(), [convolution(less, to: count)])
      return try node(Multiply(), [x, gate])
    default:
      if count % 2 == 0 { return try node(ChannelShuffle(groups: 2), [x]) }
      return size(x) > 2
        ? try node(MaxPool(window: Window(kernel: [2, 2], strides: [2, 2])), [x]) : x
    }
  }
}
