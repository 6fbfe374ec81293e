// The channels of a network that can be pruned, in groups of channels that have the same layers, and how the
// multiply-adds of the network depend on how many each group keeps.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The groups of channels of a network, for structured pruning.
///
/// All channels of a group have the same number of indices along the same axes, so the network depends only on how
/// many of a group stay, not on which.
public struct ChannelGroups: Sendable {
  public typealias Channel = ChannelMap.Channel

  /// Channels that can be removed one by one.
  public struct Group: Sendable {
    /// The names of the layers whose outputs they are, in execution order.
    public var layers: [String]
    /// In the order of their indices.
    public var channels: [Channel]
    /// The least number of a layer's outputs that each of them is; more than 1 in grouped convolutions.
    public var width: Int
  }

  /// Layers whose outputs cannot be pruned, with the reason.
  public struct Kept: Sendable, Equatable {
    public var layer: String
    public var reason: String
  }

  /// A layer: a convolution, or a product with a weight.
  struct Layer: Sendable {
    var node: Node
    /// The name of its weight.
    var weight: String
    /// The axis of the weight along which the outputs are.
    var outputAxis: Int
    /// Multiply-adds of an item with all channels.
    var multiplyAdds: Int
    /// The axes of the weight that have channels.
    var axes: [Int: Extent]
  }

  /// The extent of an axis.
  struct Extent: Hashable, Sendable {
    var count: Int
    /// How many indices each channel of a group is.
    var uses: [Int: Int]

    /// What is left of it if each group keeps so many channels.
    func left(_ counts: [Int], of groups: [Group]) -> Int {
      uses.reduce(count) { $0 - $1.value * (groups[$1.key].channels.count - counts[$1.key]) }
    }
  }

  public let graph: Graph
  public private(set) var groups: [Group] = []
  public private(set) var kept: [Kept] = []
  public let map: ChannelMap
  private(set) var layers: [Layer] = []
  /// The different axes of values that have channels of groups.
  private(set) var extents: Set<Extent> = []
  /// Multiply-adds of an item in products that have no weight.
  private var otherMultiplyAdds = 0

  /// - Throws: ``GraftError`` that names a node with an invalid attribute.
  public init(_ graph: Graph) throws {
    self.graph = graph
    map = try ChannelMap(graph)
    let uses = Self.uses(in: graph, map)
    try findLayers()
    let outputs = layers.map { layer in
      layer.node.operand(1).flatMap { map.channels(of: $0, axis: layer.outputAxis) } ?? []
    }
    var indices: [[Use]: Int] = [:]
    var groupOf: [Channel: Int] = [:]
    for (layer, channels) in zip(layers, outputs) {
      let name = layer.node.origins.first ?? layer.weight
      if let reason = channels.compactMap({ map.reason(toKeep: $0) }).first {
        kept.append(Kept(layer: name, reason: reason))
      }
      for channel in channels where map.reason(toKeep: channel) == nil {
        guard let own = uses[channel] else { continue }
        let index = indices[own] ?? groups.count
        if index == groups.count {
          indices[own] = index
          groups.append(Group(layers: [], channels: [], width: .max))
        }
        if groupOf.updateValue(index, forKey: channel) == nil {
          groups[index].channels.append(channel)
        }
        if groups[index].layers.last != name { groups[index].layers.append(name) }
        let count = own.first {
          $0.value == layer.node.operand(1) && $0.axis == layer.outputAxis
        }?.count
        groups[index].width = min(groups[index].width, count ?? .max)
      }
    }
    for index in layers.indices {
      guard let weight = layers[index].node.operand(1) else { continue }
      for axis in map.axes(of: weight) {
        layers[index].axes[axis] = extent(of: weight, axis, groupOf)
      }
    }
    for value in graph.allValues {
      for axis in map.axes(of: value) {
        let own = extent(of: value, axis, groupOf)
        if !own.uses.isEmpty { extents.insert(own) }
      }
    }
  }

  /// How many indices along an axis of a value a channel is.
  private struct Use: Hashable {
    var value: ValueID
    var axis: Int
    var count = 0
  }

  private static func uses(in graph: Graph, _ map: ChannelMap) -> [Channel: [Use]] {
    var uses: [Channel: [Use]] = [:]
    for value in graph.allValues {
      for axis in map.axes(of: value) {
        for channel in map.channels(of: value, axis: axis) ?? [] {
          let last = uses[channel]?.last
          if last?.value != value || last?.axis != axis {
            uses[channel, default: []].append(Use(value: value, axis: axis))
          }
          let position = (uses[channel]?.count ?? 1) - 1
          uses[channel]?[position].count += 1
        }
      }
    }
    return uses
  }

  private mutating func findLayers() throws {
    for node in graph.nodes {
      let operation = try Catalog.operation(of: node)
      let group = type(of: operation).group
      guard group == .convolution || group == .matrix else { continue }
      let cost = operation.cost(
        operands: graph.operandTypes(of: node), results: graph.resultTypes(of: node)
      ).multiplyAdds
      guard let weight = node.operand(1), let result = node.results.first,
        let name = graph[weight].name,
        let axis = map.axes(of: weight).first(where: { axis in
          let own = map.channels(of: weight, axis: axis)
          return map.axes(of: result).contains { map.channels(of: result, axis: $0) == own }
        })
      else {
        otherMultiplyAdds += cost
        continue
      }
      layers.append(
        Layer(node: node, weight: name, outputAxis: axis, multiplyAdds: cost, axes: [:]))
    }
  }

  private func extent(of value: ValueID, _ axis: Int, _ groupOf: [Channel: Int]) -> Extent {
    let channels = map.channels(of: value, axis: axis) ?? []
    var counts: [Int: Int] = [:]
    for channel in channels {
      if let group = groupOf[channel] { counts[group, default: 0] += 1 }
    }
    for (group, count) in counts { counts[group] = count / max(1, groups[group].channels.count) }
    return Extent(count: channels.count, uses: counts)
  }

  // MARK: Multiply-adds

  /// The multiply-adds of an item in convolutions and products.
  public var multiplyAdds: Int {
    layers.reduce(otherMultiplyAdds) { $0 + $1.multiplyAdds }
  }

  /// How many outputs a layer has.
  public struct Width: Sendable {
    /// The name of the layer's node.
    public var name: String
    /// The name of its weight.
    public var weight: String
    public var outputs: Int
  }

  /// Of every convolution and product with a weight, in execution order.
  public var widths: [Width] {
    layers.map {
      Width(
        name: $0.node.origins.first ?? $0.weight, weight: $0.weight,
        outputs: $0.axes[$0.outputAxis]?.count ?? 0)
    }
  }

  /// The multiply-adds of an item if each group keeps so many channels.
  func multiplyAdds(keeping counts: [Int]) -> Double {
    layers.reduce(Double(otherMultiplyAdds)) { $0 + multiplyAdds(of: $1, keeping: counts) }
  }

  /// The multiply-adds of a layer if each group keeps so many channels.
  /// - Parameter vector: a number of indices that are computed together; those that are missing to a multiple of it
  ///   count as if they were there.
  func multiplyAdds(of layer: Layer, keeping counts: [Int], inMultiplesOf vector: Int = 1) -> Double
  {
    layer.axes.values.reduce(Double(layer.multiplyAdds)) { product, extent in
      let left = (extent.left(counts, of: groups) + vector - 1) / vector * vector
      return product * Double(left) / Double(max(1, extent.count))
    }
  }

  /// The indices of the layers of which a group has inputs or outputs.
  func layers(ofGroup group: Int) -> [Int] {
    layers.indices.filter { layers[$0].axes.values.contains { $0.uses[group] != nil } }
  }
}
