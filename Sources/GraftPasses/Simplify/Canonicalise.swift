// Gives every computation one form, so that later passes need to know one pattern each: what moves no
// element is a reshape or nothing, and what does nothing goes.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Identity and (in inference) Dropout go; Flatten, Squeeze and Unsqueeze become Reshape, and a Reshape
/// of a Reshape one; transposes merge, and are a Reshape where only axes of extent 1 move; operators
/// that change nothing go (a Reshape to the same shape, a Clip without limits, a Slice of everything,
/// a Concat of one …); a Sum becomes additions, a
/// Gather of one index a Slice.
///
/// ```
/// %1 = dropout(%0) {ratio=0.5} : f32[N,8,1,1] from "drop"
/// %2 = flatten(%1) {axis=1} : f32[N,8] from "flat"
/// ```
/// becomes
/// ```
/// %1 = reshape(%0) {shape=shape [N,8]} : f32[N,8] from "flat"
/// ```
public struct Canonicalise: Pass {
  public static let name = "canonicalise"
  public static let summary = "one form for each computation; what does nothing goes"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    var isChanging = true
    while isChanging {
      isChanging = false
      for id in graph.nodeIDs where graph.contains(id) {
        let node = graph[id]
        let operation = try Catalogue.operation(of: node)
        guard let rewrite = try rewrite(node, operation, graph, context) else { continue }
        log(rewrite, of: node, graph, &context)
        switch rewrite {
        case .nothing(let value): graph.bypass(node, with: value)
        case .become(let operation, let operands, let absorbed):
          try graph.replace(node, with: operation, operands, absorbing: absorbed)
        case .chain(let operands): try chain(node, operands, &graph)
        case .slice(let slice, let x):
          let part = try graph.append(slice, [x], origins: node.origins, before: id)[0]
          let shape = graph.type(of: node.results[0]).shape
          try graph.replace(node, with: Reshape(shape: shape), [part])
        }
        isChanging = true
      }
    }
  }

  /// What a node should be instead.
  private enum Rewrite {
    /// Its readers read this value.
    case nothing(ValueID)
    /// Another operator on other operands, for which some nodes are no longer needed.
    case become(any Operator, [ValueID?], [Node])
    /// The sum of these, two at a time.
    case chain([ValueID])
    /// A part of the value, without the axis that it is one element long on.
    case slice(Slice, ValueID)
  }

  private func log(
    _ rewrite: Rewrite, of node: Node, _ graph: Graph, _ context: inout PassContext
  ) {
    switch rewrite {
    case .nothing:
      context.did("removed \(node.opcode) \(graph.title(node)), which changes nothing")
    case .become(_, _, let absorbed) where !absorbed.isEmpty:
      let inner = absorbed.map(graph.title).joined(separator: ", ")
      context.did("merged \(node.opcode) \(graph.title(node)) with \(inner)")
    case .become(let operation, _, _):
      context.did("made \(node.opcode) \(graph.title(node)) a \(type(of: operation).opcode)")
    case .chain: context.did("made \(node.opcode) \(graph.title(node)) a chain of additions")
    case .slice: context.did("made \(node.opcode) \(graph.title(node)) a slice")
    }
  }

  private func rewrite(
    _ node: Node, _ operation: any Operator, _ graph: Graph, _ context: PassContext
  ) throws -> Rewrite? {
    guard let x = node.operand(0), node.results.count == 1 else { return nil }
    let (old, new) = (graph.type(of: x), graph.type(of: node.results[0]))
    if isNothing(operation, old, new, operands: node.presentOperands.count, context) {
      // An output must stay a value that is computed, not a parameter.
      if graph[x].parameter != nil && graph.isOutput(node.results[0]) { return nil }
      return .nothing(x)
    }
    switch operation {
    case is Flatten, is Squeeze, is Unsqueeze: return .become(Reshape(shape: new.shape), [x], [])
    case is Reshape:
      guard let inner = try graph.producer(of: x, as: Reshape.self),
        let source = inner.node.operand(0)
      else { return nil }
      return .become(Reshape(shape: new.shape), [source], [inner.node])
    case let transpose as Transpose:
      if let inner = try graph.producer(of: x, as: Transpose.self),
        let source = inner.node.operand(0)
      {
        let merged = transpose.permutation.map { inner.operation.permutation[$0] }
        return .become(Transpose(permutation: merged), [source], [inner.node])
      }
      return transpose.movesOnlyOnes(old.shape)
        ? .become(Reshape(shape: new.shape), [x], []) : nil
    case let clip as Clip:
      if clip.low == 0, clip.high == .infinity { return .become(Relu(), [x], []) }
      guard clip.low >= 0, let inner = try graph.producer(of: x, as: Relu.self),
        let source = inner.node.operand(0)
      else { return nil }
      return .become(clip, [source], [inner.node])
    case let gather as Gather: return try slice(node, gather, graph, context)
    case is Sum: return .chain(node.presentOperands)
    default: return nil
    }
  }

  /// Whether the only result holds the elements of operand 0, in their order and of their type.
  private func isNothing(
    _ operation: any Operator, _ old: TensorType, _ new: TensorType, operands: Int,
    _ context: PassContext
  ) -> Bool {
    switch operation {
    case is Identity: return true
    case is Dropout: return context.mode == .inference
    case is Reshape, is Flatten, is Squeeze, is Unsqueeze, is Expand: return old == new
    case is Cast: return old == new
    case let transpose as Transpose:
      return transpose.permutation == Array(transpose.permutation.indices)
    case let clip as Clip: return clip.low == -.infinity && clip.high == .infinity
    case let slice as Slice: return old == new && slice.steps.allSatisfy { $0 == 1 }
    case is Concatenate, is Sum: return operands == 1
    case let pad as Pad: return pad.pads.allSatisfy { $0 == 0 }
    case let pool as any Pooling:
      return old == new && pool.window.kernel == [1, 1]
        && pool.window.strides == [1, 1]
    default: return false
    }
  }

  /// One constant index is a slice.
  private func slice(
    _ node: Node, _ gather: Gather, _ graph: Graph, _ context: PassContext
  ) throws -> Rewrite? {
    guard let x = node.operand(0), let indices = node.operand(1),
      context.isConstant(indices, in: graph), let data = graph[indices].parameter?.data,
      let index = data.integers()?.first, data.elementCount == 1,
      let extent = graph.type(of: x).shape[gather.axis].constant,
      (-extent..<extent).contains(index)
    else { return nil }
    let start = index < 0 ? index + extent : index
    return .slice(Slice(axes: [gather.axis], starts: [start], extents: [1], steps: [1]), x)
  }

  private func chain(_ node: Node, _ operands: [ValueID], _ graph: inout Graph) throws {
    guard var sum = operands.first else { return }
    for operand in operands.dropFirst().dropLast() {
      sum = try graph.append(
        Add(), [sum, operand], origins: node.origins, before: node.id)[0]
    }
    guard operands.count > 1, let last = operands.last else { return }
    try graph.replace(node, with: Add(), [sum, last])
  }
}

extension Transpose {
  /// Whether the axes of extent other than 1 keep their order, so that no element moves.
  func movesOnlyOnes(_ shape: TensorShape) -> Bool {
    let moved = permutation.filter { shape.dimensions.indices.contains($0) && shape[$0] != 1 }
    return moved == moved.sorted()
  }
}
