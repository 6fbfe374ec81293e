// Networks with channels-last images have a transpose before and after every convolution. Sinking transposes
// towards the outputs makes pairs adjacent, which cancel.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Moves transposes past operators that can be permuted, and merges adjacent ones.
///
/// ```
/// %2 = transpose(%1) {permutation=[0, 2, 3, 1]} : f32[N,8,8,4] from "t1"
/// %3 = relu(%2) : f32[N,8,8,4] from "relu"
/// %4 = transpose(%3) {permutation=[0, 3, 1, 2]} : f32[N,4,8,8] from "t2"
/// ```
/// becomes
/// ```
/// %2 = relu(%1) : f32[N,4,8,8] from "relu", "t2"
/// ```
/// A transpose sinks through operators that can be permuted (``Operator/permuted(by:)``; constant operands
/// get the inverse permutation), and only if every reader of the transposed value allows it, so that no
/// transpose is duplicated.
public struct SinkTransposes: Pass {
  public static let name = "sink-transposes"
  public static let summary = "moves transposes towards the outputs until they cancel"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    var isChanging = true
    while isChanging {
      isChanging = false
      for id in graph.nodeIDs where graph.contains(id) {
        let node = graph[id]
        let sinking = TransposeSinking(graph, context)
        if let merged = try sinking.merged(node) {
          try apply(merged, to: node, &graph, &context)
        } else if let sunk = try sinking.sunk(node), try sinking.allReadersLetThrough(node) {
          context.did("sank a transpose through \(node.opcode) \(graph.title(node))")
          try apply(sunk, to: node, &graph)
        } else {
          continue
        }
        isChanging = true
      }
    }
  }

  private func apply(
    _ merged: TransposeSinking.Merged, to node: Node, _ graph: inout Graph,
    _ context: inout PassContext
  ) throws {
    let names = "\(graph.title(merged.inner)) and \(graph.title(node))"
    if merged.permutation == Array(merged.permutation.indices) {
      context.did("cancelled the transposes \(names)")
      graph.bypass(node, with: merged.source)
      graph.removeUnread([merged.inner])
    } else {
      context.did("merged the transposes \(names)")
      try graph.replace(
        node, with: Transpose(permutation: merged.permutation), [merged.source],
        absorbing: [merged.inner])
    }
  }

  private func apply(_ sunk: TransposeSinking.Sunk, to node: Node, _ graph: inout Graph) throws {
    var operands = sunk.operands
    for (position, turned) in sunk.turnedConstants {
      operands[position] = graph.addParameter(
        graph.unusedName("\(turned.name).turned"),
        TensorType(turned.data.dtype, TensorShape(turned.data.shape)),
        Parameter(derivation: "turned for \(graph.title(node))", data: turned.data))
    }
    let results = try graph.append(
      sunk.operation, operands, origins: graph.origins(of: [node]), before: node.id)
    for (old, new) in zip(node.results, results) {
      var value = new
      if let permutation = sunk.permutation {
        value = try graph.append(
          Transpose(permutation: permutation), [new], names: [graph[old].name],
          origins: graph.origins(of: sunk.transposes), before: node.id)[0]
      } else {
        graph[new].name = graph[old].name
      }
      graph.replaceUses(of: old, with: value)
    }
    graph.remove(node.id)
    graph.removeUnread(sunk.transposes)
  }
}

/// The result of sinking transposes through a node.
private struct TransposeSinking {
  struct Merged {
    var source: ValueID
    var inner: Node
    var permutation: [Int]
  }

  struct Turned {
    var name: String
    var data: TensorData
  }

  struct Sunk {
    var operation: any Operator
    /// Reads what the transposes read.
    var operands: [ValueID?]
    /// Constants that broadcast, by operand, with their axes in the order of the source.
    var turnedConstants: [Int: Turned] = [:]
    /// The permutation to apply to every result; nil if the axes are in order.
    var permutation: [Int]?
    var transposes: [Node]
  }

  private let graph: Graph
  private let context: PassContext

  init(_ graph: Graph, _ context: PassContext) {
    self.graph = graph
    self.context = context
  }

  /// A transpose of a transpose.
  func merged(_ node: Node) throws -> Merged? {
    guard let outer = try graph.operation(node, as: Transpose.self),
      let inner = try graph.producer(of: node.operand(0), as: Transpose.self),
      let source = inner.node.operand(0)
    else { return nil }
    return Merged(
      source: source, inner: inner.node,
      permutation: outer.permutation.map { inner.operation.permutation[$0] })
  }

  /// Whether each reader of every transposed operand of `node` is a transpose or can be sunk into.
  func allReadersLetThrough(_ node: Node) throws -> Bool {
    let uses = Uses(graph)
    for operand in node.presentOperands {
      guard try graph.producer(of: operand, as: Transpose.self) != nil else { continue }
      guard !uses.isOutput(operand) else { return false }
      for reader in Set(uses.readers(of: operand)) where reader != node.id {
        guard try merged(graph[reader]) != nil || sunk(graph[reader]) != nil else { return false }
      }
    }
    return true
  }

  func sunk(_ node: Node) throws -> Sunk? {
    let operation = try Catalog.operation(of: node)
    guard
      let first = try node.presentOperands.lazy.compactMap({
        try graph.producer(of: $0, as: Transpose.self)
      }).first
    else { return nil }
    let permutation = first.operation.permutation
    guard let sources = try sources(node, operation, permutation) else { return nil }
    guard let permuted = operation.permuted(by: permutation) else { return nil }
    return Sunk(
      operation: permuted.operation, operands: sources.operands, turnedConstants: sources.turned,
      permutation: permuted.resultPermutation, transposes: sources.transposes)
  }

  private typealias Sources = (
    operands: [ValueID?], turned: [Int: Turned], transposes: [Node]
  )

  /// Every operand before its transpose; constants of elementwise operators are permuted.
  private func sources(
    _ node: Node, _ operation: any Operator, _ permutation: [Int]
  ) throws -> Sources? {
    var sources: Sources = ([], [:], [])
    for (position, operand) in node.operands.enumerated() {
      guard let operand else { return nil }
      if let transpose = try graph.producer(of: operand, as: Transpose.self) {
        guard transpose.operation.permutation == permutation else { return nil }
        sources.operands.append(transpose.node.operand(0))
        if !sources.transposes.contains(where: { $0.id == transpose.node.id }) {
          sources.transposes.append(transpose.node)
        }
      } else if operation is any ChannelwiseOperator,
        type(of: operation).role(at: position) != .residual
      {
        sources.operands.append(operand)
      } else if operation is any BinaryElementwise,
        let turned = try turned(operand, permutation, graph.type(of: node.results[0]).rank)
      {
        sources.operands.append(operand)
        if turned.data.shape.count > 0 { sources.turned[position] = turned }
      } else {
        return nil
      }
    }
    return sources
  }

  /// A constant with at most one axis longer than 1, whose element order no permutation changes.
  private func turned(_ value: ValueID, _ permutation: [Int], _ rank: Int) throws -> Turned? {
    guard rank == permutation.count, context.isConstant(value, in: graph),
      let data = graph[value].parameter?.data, data.shape.count <= rank,
      data.shape.count(where: { $0 != 1 }) <= 1
    else { return nil }
    let extents = Array(repeating: 1, count: rank - data.shape.count) + data.shape
    var shape = Array(repeating: 1, count: rank)
    for (axis, source) in permutation.enumerated() { shape[source] = extents[axis] }
    return Turned(name: graph.name(value), data: try data.reshaped(to: shape))
  }
}
