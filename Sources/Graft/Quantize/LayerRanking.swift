// Which layers of a network int8 harms most: the error of the output when only one layer is on bytes.

import Foundation
import GraftData
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftPasses

/// The layers that can be on bytes, by what quantizing each costs.
///
/// One network is compiled in which every such layer stands twice, in float32 and on bytes, with an input of its own
/// that says which result the rest sees: y + switch · (ŷ − y). So each layer's cost is that of real kernels, with all
/// others in float32, and takes no compilation.
struct LayerRanking {
  /// Layers that read one value. Its conversion to bytes harms them all, so that they stay float32 together.
  struct Group {
    var layers: [Manifest.Quantization.KeptLayer]
    /// The root mean square of the change of the outputs, relative to their standard deviation, when these layers are
    /// on bytes one at a time, summed as variances.
    var error: Double
  }

  /// The most items to run; the error is smooth, so that few tell one layer from another.
  static let mostItems = 128

  /// The group with the largest error first.
  private(set) var groups: [Group] = []

  /// - Parameters:
  ///   - graph: the network after the passes of ``Pipeline/inference``.
  ///   - quantize: the pass that would put it on bytes.
  ///   - batches: calls its argument with the inputs of some batches of the data.
  ///   - output: the name of the output with the classes.
  init(
    of graph: Graph, _ quantize: QuantizeNetwork, output: String, _ model: SourceModel,
    compiler: Compiler, batches: (_ body: ([String: Tensor]) throws -> Void) throws -> Void
  ) throws {
    let switched = try SwitchedNetwork(graph, quantize)
    let folder = try TemporaryFolder()
    let path = ModelBundle.join(folder.path, "switched.graft")
    var source = model
    source.graphs = [switched.graph]
    (source.preprocessing, source.labels, source.quantization) = (nil, nil, nil)
    try compiler.plain(.float32).compile(source, to: path)
    let session = try Session(ModelBundle(opening: path))
    var errors = [Double](repeating: 0, count: switched.layers.count)
    var (count, sum, squares) = (0.0, 0.0, 0.0)
    var batch = 0
    try batches { inputs in
      func run(_ chosen: Int?) throws -> [Float] {
        var inputs = inputs
        for (index, layer) in switched.layers.enumerated() {
          inputs[layer.input] = try Tensor(shape: [1], elements: [Float(index == chosen ? 1 : 0)])
        }
        return try session.run(inputs)[output]?.elements ?? []
      }
      let exact = try run(nil)
      count += Double(exact.count)
      for number in exact.map({ Double($0) }) {
        sum += number
        squares += number * number
      }
      batch += 1
      for index in errors.indices {
        compiler.options.progress("batch \(batch): layer \(index + 1) of \(errors.count)")
        errors[index] += zip(try run(index), exact).reduce(0) {
          let difference = Double($1.0) - Double($1.1)
          return $0 + difference * difference
        }
      }
    }
    let variance = max(0, squares - sum * sum / max(1, count))
    let shares = errors.map { $0.isFinite ? $0 / max(variance, .leastNormalMagnitude) : .infinity }
    groups = switched.groups(shares)
  }
}

/// A network each of whose layers can be switched to bytes.
private struct SwitchedNetwork {
  struct Layer {
    /// The name of the input that is 1 for bytes and 0 for float32.
    var input: String
    /// The value that it reads.
    var operand: ValueID
    var title: String
    var key: String
  }

  private(set) var graph: Graph
  private(set) var layers: [Layer] = []

  init(_ original: Graph, _ quantize: QuantizeNetwork) throws {
    let (chosen, stored) = try quantize.layers(of: original)
    let keys = ValueKeys(original).keys
    var ranges = quantize.ranges.merging(stored) { $1 }
    graph = original
    var copies: Set<NodeID> = []
    let nodes = original.nodes
    for (index, node) in nodes.enumerated() where chosen.contains(node.id) {
      guard let x = node.operand(0), let result = node.results.first else { continue }
      let name = graph.unusedName("switch \(layers.count)")
      let control = graph.addInput(name, TensorType(.float32, [1]))
      let next = index + 1 < nodes.count ? nodes[index + 1].id : nil
      let (readers, outputs) = (Set(graph.readers(of: result)), graph.outputs)
      // The node's operands may be switched already.
      let copy = try graph.append(
        Catalog.operation(of: node), graph[node.id].operands, origins: node.origins, before: next)
      if let id = graph.producer(of: copy[0])?.id { copies.insert(id) }
      let change = try graph.append(Subtract(), [copy[0], result], before: next)
      let part = try graph.append(Multiply(), [change[0], control], before: next)
      let switched = try graph.append(Add(), [result, part[0]], before: next)[0]
      for reader in readers {
        graph[reader].operands = graph[reader].operands.map { $0 == result ? switched : $0 }
      }
      for (place, output) in outputs.enumerated() where output.value == result {
        graph.outputs[place].value = switched
      }
      ranges[switched] = ranges[result]
      layers.append(
        Layer(
          input: name, operand: x, title: node.origins.joined(separator: ", "),
          key: keys[result] ?? ""))
    }
    let others = graph.nodes.map(\.id).filter { !copies.contains($0) }
    let pass = QuantizeNetwork(
      ranges: ranges, kept: Dictionary(uniqueKeysWithValues: others.map { ($0, "not switched") }))
    _ = try PassManager([PipelineEntry(pass, because: "only the copies are on bytes")]).run(&graph)
  }

  /// Layers that read one value, the group with the largest error first.
  /// - Parameter shares: of each layer, the squared error relative to the outputs' variance.
  func groups(_ shares: [Double]) -> [LayerRanking.Group] {
    var order: [ValueID] = []
    var members: [ValueID: [Int]] = [:]
    for (index, layer) in layers.enumerated() {
      if members[layer.operand] == nil { order.append(layer.operand) }
      members[layer.operand, default: []].append(index)
    }
    let groups = order.map { operand in
      let own = members[operand] ?? []
      return LayerRanking.Group(
        layers: own.map { index in
          Manifest.Quantization.KeptLayer(
            layer: layers[index].title, value: layers[index].key,
            reason: "in int8 it alone changes the outputs by "
              + String(format: "%.2g %% of their spread", 100 * shares[index].squareRoot()))
        }, error: own.reduce(0) { $0 + shares[$1] }.squareRoot())
    }
    // Stable, so that the same numbers give the same bundle.
    return groups.enumerated().sorted {
      ($1.element.error, $0.offset) < ($0.element.error, $1.offset)
    }.map(\.element)
  }
}
