// Removing channels from a network: weights, biases and statistics without some of their indices, operators
// adapted, shapes inferred again. The result is an ordinary network.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Indices along an axis of a parameter whose channels are removed, with all that belongs to them.
public struct ChannelCut: Codable, Sendable, Equatable {
  /// The parameter's name.
  public var parameter: String
  public var axis: Int
  /// Ascending.
  public var indices: [Int]

  public init(parameter: String, axis: Int, indices: [Int]) {
    self.parameter = parameter
    self.axis = axis
    self.indices = indices
  }
}

extension Graph {
  /// The graph without some channels.
  /// - Parameter cuts: for each channel at least one of its indices along an axis of a parameter.
  /// - Throws: ``GraftError`` of kind `invalidArgument` if a cut names no index of this graph, or a channel that must
  ///   stay; as ``removing(_:in:)``.
  public func removing(_ cuts: [ChannelCut]) throws -> Graph {
    let map = try ChannelMap(self)
    var removed = Set<ChannelMap.Channel>()
    for cut in cuts {
      guard let id = parameter(named: cut.parameter),
        let channels = map.channels(of: id, axis: cut.axis),
        cut.indices.allSatisfy(channels.indices.contains),
        cut.indices.allSatisfy({ map.reason(toKeep: channels[$0]) == nil })
      else {
        throw GraftError(
          .invalidArgument,
          "the network has no channels to prune on axis \(cut.axis) of \(cut.parameter.quotedForDisplay)"
        )
      }
      removed.formUnion(cut.indices.map { channels[$0] })
    }
    return try removing(removed, in: map)
  }

  /// The graph without some channels of its map.
  /// - Throws: ``GraftError`` of kind `inconsistency` that names a node that does not have the shape that it should.
  func removing(_ removed: Set<ChannelMap.Channel>, in map: ChannelMap) throws -> Graph {
    var graph = self
    func kept(_ value: ValueID?) -> [Int: [Bool]] {
      guard let value else { return [:] }
      var kept: [Int: [Bool]] = [:]
      for axis in map.axes(of: value) {
        let own = (map.channels(of: value, axis: axis) ?? []).map { !removed.contains($0) }
        if own.contains(false) { kept[axis] = own }
      }
      return kept
    }
    for id in parameters {
      let own = kept(id)
      if !own.isEmpty { try graph.cut(id, keeping: own) }
    }
    for node in nodes {
      let (operands, results) = (node.operands.map(kept), node.results.map(kept))
      guard (operands + results).contains(where: { !$0.isEmpty }) else { continue }
      let operation = try Catalog.operation(of: node).keeping(
        KeptChannels(operands: operands, results: results))
      let types = try at(location(of: node)) {
        try Catalog.inferTypes(operation, graph.operandTypes(of: node))
      }
      for (index, result) in node.results.enumerated() {
        var expected = type(of: result)
        for (axis, own) in results[index] {
          expected.shape[axis] = GraftIR.Dimension(own.count(where: \.self))
        }
        guard types[index].shape == expected.shape else {
          throw GraftError(
            .inconsistency,
            "without some channels it is \(types[index].shape), expected \(expected.shape)",
            at: location(of: node))
        }
        graph[result].type = expected
      }
      graph[node.id].attributes = operation.attributes
    }
    try graph.verify()
    return graph
  }

  private mutating func cut(_ id: ValueID, keeping kept: [Int: [Bool]]) throws {
    guard var parameter = self[id].parameter, let data = parameter.data,
      var shape = type(of: id).shape.constants
    else { return }
    var elements = data.floats()
    for (axis, own) in kept.sorted(by: { $0.key < $1.key }) {
      elements = elements.keeping(own, along: axis, of: shape)
      shape[axis] = own.count(where: \.self)
    }
    parameter.data = try TensorData(elements, shape: shape)
    self[id].definition = .parameter(parameter)
    self[id].type.shape = TensorShape(shape)
  }
}

extension [Float] {
  /// The elements of a row-major tensor of which only some indices along an axis stay.
  fileprivate func keeping(_ kept: [Bool], along axis: Int, of shape: [Int]) -> [Float] {
    let inner = shape[(axis + 1)...].reduce(1, *)
    let row = shape[axis] * inner
    var result: [Float] = []
    for start in stride(from: 0, to: row == 0 ? 0 : count, by: Swift.max(row, 1)) {
      for index in kept.indices where kept[index] {
        result += self[(start + index * inner)..<(start + (index + 1) * inner)]
      }
    }
    return result
  }
}
