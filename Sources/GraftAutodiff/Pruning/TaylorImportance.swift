// How much the loss would change without a channel, to first order (Molchanov et al. 2019, Importance Estimation
// for Neural Network Pruning).

import GraftDiagnostics
import GraftIR
import GraftOps

/// The first-order Taylor importance of channels: the squared change of the loss if a channel were multiplied by 0.
///
/// Each output of a layer has a gate, a factor of 1. The derivative of the loss E with respect to it is the sum of
/// g·w over the parameters that produce the output alone: scale and bias of the normalization that follows, else the
/// layer's own weights and bias. The importance is the mean over minibatches of its square (section 3 of the paper),
/// and that of a channel the sum over its layers.
public struct TaylorImportance: Sendable {
  /// A tensor of parameters with an index for each output along `axis`.
  private struct Part: Sendable {
    var name: String
    var axis: Int
    var shape: [Int]
  }

  /// The gates of a layer.
  private struct Gates: Sendable {
    var parts: [Part]
    var channels: [ChannelGroups.Channel]
  }

  private let gates: [Gates]
  private var sums: [ChannelGroups.Channel: Double] = [:]
  private var batches = 0

  /// - Parameter trained: the names of the parameters that have gradients.
  public init(of groups: ChannelGroups, trained: Set<String>) {
    let graph = groups.graph
    func part(_ value: ValueID?, _ axis: Int) -> Part? {
      guard let value, let name = graph[value].name, trained.contains(name),
        let shape = graph.type(of: value).shape.constants
      else { return nil }
      return Part(name: name, axis: axis, shape: shape)
    }
    gates = groups.layers.compactMap { layer in
      guard let weight = layer.node.operand(1),
        let channels = groups.map.channels(of: weight, axis: layer.outputAxis)
      else { return nil }
      let parts =
        Self.normalization(behind: layer.node, in: graph).flatMap { scale, bias in
          part(scale, 0).flatMap { one in part(bias, 0).map { [one, $0] } }
        }
        ?? [part(weight, layer.outputAxis), part(Self.bias(of: layer.node, in: graph), 0)]
        .compactMap { $0 }
      return parts.isEmpty ? nil : Gates(parts: parts, channels: channels)
    }
  }

  /// The scale and bias of the normalization that alone reads a layer's result.
  private static func normalization(
    behind node: Node, in graph: Graph
  ) -> (scale: ValueID, bias: ValueID)? {
    guard let result = node.results.first, !graph.isOutput(result) else { return nil }
    let readers = graph.readers(of: result)
    guard readers.count == 1, let reader = readers.first.map({ graph[$0] }),
      let type = Catalog.type(of: reader.opcode), type is any ChannelwiseOperator.Type,
      let scale = type.position(of: .scale).flatMap({ reader.operand($0) }),
      let bias = type.position(of: .bias).flatMap({ reader.operand($0) })
    else { return nil }
    return (scale, bias)
  }

  private static func bias(of node: Node, in graph: Graph) -> ValueID? {
    Catalog.type(of: node.opcode)?.position(of: .bias).flatMap { node.operand($0) }
  }

  /// The names of the parameters whose values and gradients ``add(value:gradient:)`` needs.
  public var parameters: Set<String> { Set(gates.flatMap { $0.parts.map(\.name) }) }

  /// Adds a minibatch.
  /// - Parameters:
  ///   - values: the elements of each of ``parameters``, row-major.
  ///   - gradients: the derivatives of the minibatch's loss with respect to them.
  public mutating func add(values: [String: [Float]], gradients: [String: [Float]]) {
    batches += 1
    for own in gates {
      var derivatives = [Double](repeating: 0, count: own.channels.count)
      for part in own.parts {
        guard let value = values[part.name], let gradient = gradients[part.name],
          value.count == gradient.count, value.count == part.shape.reduce(1, *)
        else { continue }
        let inner = part.shape[(part.axis + 1)...].reduce(1, *)
        for position in value.indices {
          derivatives[position / max(inner, 1) % part.shape[part.axis]] +=
            Double(value[position]) * Double(gradient[position])
        }
      }
      for (channel, derivative) in zip(own.channels, derivatives) {
        sums[channel, default: 0] += derivative * derivative
      }
    }
  }

  /// The importance of a channel, the mean over the minibatches so far; 0 if it has no gate.
  public subscript(channel: ChannelGroups.Channel) -> Double {
    (sums[channel] ?? 0) / Double(max(1, batches))
  }
}
