// What one node does to channels: the interface between Operator.relateChannels and ChannelMap.

import GraftDiagnostics
import GraftIR

/// The channels along the axes of a node's operands and results.
///
/// An operator relates the axes that it understands. Every index along an axis of an operand that it does not ask
/// for stays, and so does every index along an axis of a result that it does not set.
public struct ChannelRelations {
  /// The channels of each index along an axis, in order.
  public typealias Channels = [Int]

  private let graph: Graph
  private let node: Node
  var map = ChannelMap()
  private var asked: Set<Place> = []

  private struct Place: Hashable {
    var operand: Int
    var axis: Int
  }

  init(of node: Node, in graph: Graph) {
    self.graph = graph
    self.node = node
  }

  /// Keeps all indices along the axes that were not asked for.
  mutating func closeOthers() {
    for (index, operand) in node.operands.enumerated() {
      guard let operand else { continue }
      for axis in 0..<graph.type(of: operand).rank
      where !asked.contains(Place(operand: index, axis: axis)) {
        map.close(operand, axis: axis, isParameter: isParameter(index), because: reason)
      }
    }
  }

  private var reason: String {
    "\(node.opcode) \((node.origins.first ?? "").quotedForDisplay) needs all of them"
  }

  public var operandCount: Int { node.operands.count }
  public var resultCount: Int { node.results.count }

  public func type(ofOperand index: Int) -> TensorType? {
    node.operand(index).map { graph.type(of: $0) }
  }

  public func type(ofResult index: Int) -> TensorType { graph.type(of: node.results[index]) }

  func isParameter(_ index: Int) -> Bool {
    node.operand(index).map { graph[$0].parameter != nil } ?? false
  }

  /// The channels along an axis of an operand; nil if all its indices stay, or the operand is absent.
  public mutating func channels(ofOperand index: Int, axis: Int) -> Channels? {
    guard let value = node.operand(index), let type = type(ofOperand: index),
      type.shape.dimensions.indices.contains(axis), let extent = type.shape[axis].constant
    else { return nil }
    let found: Channels?
    if let parameter = graph[value].parameter {
      let canShrink = type.dtype == .float32 && parameter.data != nil
      found = canShrink ? map.open(value, axis: axis, extent: extent) : nil
    } else {
      found = map.entries(of: value, axis: axis)
    }
    if found != nil { asked.insert(Place(operand: index, axis: axis)) }
    return found
  }

  /// Sets the channels along an axis of a result; nil if all its indices stay.
  public mutating func set(_ channels: Channels?, ofResult index: Int, axis: Int) {
    guard let channels, type(ofResult: index).shape[axis].constant == channels.count else {
      return fix(channels)
    }
    map.set(channels, of: node.results[index], axis: axis)
  }

  /// Makes the channels at the same position one. If one side is nil, or they are not as many, all stay.
  public mutating func unite(_ some: Channels?, _ others: Channels?) {
    guard let some, let others, some.count == others.count else {
      fix(some)
      return fix(others)
    }
    for (one, other) in zip(some, others) { map.unite(one, other) }
  }

  /// Makes one of the channels at the same position in each of `groups` parts of equal length, so that all parts
  /// lose equally many.
  public mutating func unite(partsOf channels: Channels?, _ groups: Int) {
    guard let channels else { return }
    guard groups > 0, channels.count.isMultiple(of: groups) else { return fix(channels) }
    let count = channels.count / groups
    for position in channels.indices.dropFirst(count) {
      map.unite(channels[position % count], channels[position])
    }
  }

  /// New channels, of elements that the operator adds.
  mutating func makeChannels(_ count: Int) -> Channels { map.addEntries(count) }

  private mutating func fix(_ channels: Channels?) {
    if let channels { map.fix(channels, because: reason) }
  }

  // MARK: Relations that several operators have

  /// The result has the channels of an operand's axis.
  public mutating func carry(operand: Int = 0, axis: Int, toResult result: Int = 0, axis other: Int)
  {
    guard let channels = channels(ofOperand: operand, axis: axis) else { return }
    set(channels, ofResult: result, axis: other)
  }

  /// An operator of single elements: operands broadcast to the result, and their channels are the result's.
  public mutating func carryElements() {
    let result = type(ofResult: 0)
    for axis in 0..<result.rank {
      guard let extent = result.shape[axis].constant, extent > 1 else { continue }
      let places = (0..<operandCount).compactMap { index -> (operand: Int, axis: Int)? in
        guard let type = type(ofOperand: index) else { return nil }
        let own = axis - result.rank + type.rank
        return own >= 0 && type.shape[own].constant == extent ? (index, own) : nil
      }
      // The channels of a parameter are those of what it meets.
      let values = places.filter { !isParameter($0.operand) }
      guard !values.isEmpty, values.allSatisfy({ hasChannels($0.operand, axis: $0.axis) }) else {
        continue
      }
      let found = places.map { channels(ofOperand: $0.operand, axis: $0.axis) }
      for other in found.dropFirst() { unite(found[0], other) }
      set(found[0], ofResult: 0, axis: axis)
    }
  }

  private func hasChannels(_ operand: Int, axis: Int) -> Bool {
    node.operand(operand).map { map.entries(of: $0, axis: axis) != nil } ?? false
  }

  /// An operator of single channels, on axis 1 of operand 0, with vectors of channels and perhaps a residual.
  mutating func carryChannels() {
    let x = channels(ofOperand: 0, axis: 1)
    for index in 1..<max(1, operandCount) {
      guard let type = type(ofOperand: index) else { continue }
      // Vectors whose channels are not those of a channel that can be removed stay.
      guard x != nil || !isParameter(index) else { continue }
      unite(x, channels(ofOperand: index, axis: type.rank == 1 ? 0 : 1))
    }
    set(x, ofResult: 0, axis: 1)
  }

  /// A reduction over other axes than those of channels.
  mutating func carryReduced(axes: [Int], keepsAxes: Bool) {
    let rank = type(ofOperand: 0)?.rank ?? 0
    for axis in 0..<rank where !axes.contains(axis) && !isParameter(0) {
      carry(axis: axis, axis: keepsAxes ? axis : axis - axes.count { $0 < axis })
    }
  }

  /// An operator that moves elements: found by letting it move the channels instead.
  /// - Parameter stuck: axes of operand 0 along which it cannot do with fewer indices.
  mutating func move(by operation: some StructuralOperator, stuck: Set<Int> = []) throws {
    let types = (0..<operandCount).compactMap { type(ofOperand: $0) }
    let extents = try (0..<resultCount).map { try type(ofResult: $0).shape.extents(batch: 2) }
    let counts =
      try types.map { try $0.shape.extents(batch: 2).reduce(1, *) }
      + extents.map { $0.reduce(1, *) }
    guard types.count == operandCount, counts.allSatisfy({ $0 <= Self.largestMoved }) else {
      return
    }
    for axis in 0..<(types.map(\.rank).max() ?? 0) where !stuck.contains(axis) {
      let found = types.indices.map { index -> Channels? in
        let isOpen = hasChannels(index, axis: axis) || isParameter(index)
        return isOpen ? channels(ofOperand: index, axis: axis) : nil
      }
      guard found.contains(where: { $0 != nil }) else { continue }
      let moved = try operation.evaluate(
        moving: types.indices.map { index in
          try Self.labels(types[index].shape.extents(batch: 2), axis, found[index])
        }, extents: extents)
      for (index, labels) in moved.enumerated() {
        setMoved(labels, ofResult: index)
      }
    }
  }

  /// The number of elements of a tensor up to which channels are followed through a movement.
  private static let largestMoved = 1 << 26
  /// The label of an index that stays.
  private static let none = -1

  /// A tensor of the channel of every element.
  private static func labels(
    _ extents: [Int], _ axis: Int, _ channels: Channels?
  ) throws -> DenseTensor<Int> {
    guard let channels else { return DenseTensor(shape: extents, repeating: none) }
    let inner = extents[(axis + 1)...].reduce(1, *)
    let outer = extents[..<axis].reduce(1, *)
    let part = channels.flatMap { Array(repeating: $0, count: inner) }
    return try DenseTensor(
      shape: extents, elements: (0..<outer).flatMap { _ in part })
  }

  /// Sets the channels of a result from those of its elements, if they differ along one axis only.
  private mutating func setMoved(_ labels: DenseTensor<Int>, ofResult index: Int) {
    let present = Set(labels.elements.filter { $0 != Self.none })
    guard !present.isEmpty else { return }
    let shape = type(ofResult: index).shape
    let strides = labels.strides
    let axis = (0..<shape.rank).first { axis in
      guard shape[axis].constant != nil else { return false }
      let (extent, stride) = (labels.shape[axis], strides[axis])
      return labels.elements.indices.allSatisfy { position in
        labels.elements[position] == labels.elements[position / stride % extent * stride]
      }
    }
    guard let axis, map.entries(of: node.results[index], axis: axis) == nil else {
      return fix(Array(present))
    }
    let own = (0..<labels.shape[axis]).map { labels.elements[$0 * strides[axis]] }
    // An index that stays, among others that do not, is a channel that stays.
    let entries = own.map { label -> Int in
      guard label == Self.none else { return label }
      let entry = map.addEntries(1)
      map.fix(entry, because: reason)
      return entry[0]
    }
    map.set(entries, of: node.results[index], axis: axis)
  }
}
