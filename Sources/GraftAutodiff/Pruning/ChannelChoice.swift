// Which channels to remove: always those that cost the loss least for the multiply-adds that they save.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A choice of how many channels each group keeps.
public struct ChannelChoice: Sendable {
  /// The number of channels that a group keeps is a multiple of this, because kernels compute channels in vectors, and
  /// every layer keeps at least so many.
  public static let multiple = 8

  private let groups: ChannelGroups
  private let vector: Int
  /// For each group the number of channels that stay.
  private(set) var counts: [Int]

  /// - Parameter vector: the number of outputs that the target's kernels compute together.
  public init(_ groups: ChannelGroups, vector: Int) {
    self.groups = groups
    self.vector = vector
    counts = groups.groups.map(\.channels.count)
  }

  /// The multiply-adds of an item that remain if nothing more can be removed.
  public static func leastMultiplyAdds(_ groups: ChannelGroups, vector: Int) -> Double {
    var choice = ChannelChoice(groups, vector: vector)
    _ = choice.remove(downTo: 0) { _ in 0 }
    return groups.multiplyAdds(keeping: choice.counts)
  }

  /// The number of channels of a group that are removed together.
  private static func unit(_ group: ChannelGroups.Group) -> Int {
    max(1, multiple / max(1, group.width))
  }

  /// Whether every value keeps at least ``multiple`` channels, or all that it has, if a group loses its last.
  private func canLose(_ group: Int) -> Bool {
    var fewer = counts
    fewer[group] = 0
    return groups.extents.allSatisfy {
      $0.uses[group] == nil || $0.left(fewer, of: groups.groups) >= Self.multiple
    }
  }

  /// The estimated time of a layer, in multiply-adds. Most of it grows with whole vectors of inputs and outputs.
  private func time(of layer: ChannelGroups.Layer, _ counts: [Int]) -> Double {
    (1 - Self.exactShare) * groups.multiplyAdds(of: layer, keeping: counts, inMultiplesOf: vector)
      + Self.exactShare * groups.multiplyAdds(of: layer, keeping: counts)
  }

  /// The share of a layer's time that grows with the channels themselves, not with whole vectors of them.
  private static let exactShare = 0.1

  /// Removes the channels of least importance until at most so many multiply-adds of an item remain, or nothing more
  /// can be removed.
  ///
  /// Each step removes from one group its least important channels, those with the least importance for each
  /// multiply-add that the vectors of the target save.
  /// - Returns: the removed channels, as cuts of the graph.
  public mutating func remove(
    downTo limit: Double, importance: (ChannelGroups.Channel) -> Double
  ) -> [ChannelCut] {
    let ranked = groups.groups.map { group in
      group.channels.enumerated().map { (channel: $1, position: $0, value: importance($1)) }
        .sorted { ($0.value, $0.position) < ($1.value, $1.position) }
    }
    let layers = groups.groups.indices.map { groups.layers(ofGroup: $0) }
    func time(_ own: [Int], _ counts: [Int]) -> Double {
      own.reduce(0) { $0 + self.time(of: groups.layers[$1], counts) }
    }
    while groups.multiplyAdds(keeping: counts) > limit {
      var best: (group: Int, count: Int, ratio: Double)?
      for (index, group) in groups.groups.enumerated() {
        let unit = Self.unit(group)
        let removed = group.channels.count - counts[index]
        let before = time(layers[index], counts)
        // A vector of outputs saves time only as a whole, so several units are weighed as one.
        for steps in 1...Self.mostUnits where counts[index] > 0 {
          let target = (counts[index] - 1) / unit * unit - (steps - 1) * unit
          guard target >= unit || target == 0 && canLose(index) else { break }
          var fewer = counts
          fewer[index] = target
          let saved = before - time(layers[index], fewer)
          guard saved > 0 else { continue }
          let cost = ranked[index][removed..<(group.channels.count - target)].reduce(0) {
            $0 + $1.value
          }
          if best.map({ cost / saved < $0.ratio }) ?? true {
            best = (index, target, cost / saved)
          }
        }
      }
      guard let best else { break }
      counts[best.group] = best.count
    }
    let removed = ranked.enumerated().flatMap { index, channels in
      channels.prefix(channels.count - counts[index]).map(\.channel)
    }
    return cuts(of: Set(removed))
  }

  /// The number of units of a group that one step may remove.
  private static let mostUnits = 4

  /// A cut for each layer that loses outputs.
  private func cuts(of removed: Set<ChannelGroups.Channel>) -> [ChannelCut] {
    var known = Set<ChannelGroups.Channel>()
    return groups.layers.compactMap { layer in
      guard let weight = layer.node.operand(1),
        let channels = groups.map.channels(of: weight, axis: layer.outputAxis)
      else { return nil }
      let own = channels.indices.filter {
        removed.contains(channels[$0]) && known.insert(channels[$0]).inserted
      }
      return own.isEmpty
        ? nil : ChannelCut(parameter: layer.weight, axis: layer.outputAxis, indices: own)
    }
  }
}
