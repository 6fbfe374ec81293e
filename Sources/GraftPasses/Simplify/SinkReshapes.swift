// Reshapes between a gemm and the elementwise operators after it, which would prevent fusion.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The reshape of a gemm's rows moves behind an elementwise operator that is its only reader: an activation, or
/// an addition of a vector with one element for each column or of a value of the same shape.
///
/// ```
/// %3 = gemm(%2, %1) : f32[5N,8] from "fc"
/// %4 = reshape(%3) {shape=shape [N,5,8]} : f32[N,5,8] from "fc"
/// %5 = gelu(%4) {uses_tanh=false} : f32[N,5,8] from "act"
/// ```
/// becomes
/// ```
/// %3 = gemm(%2, %1) : f32[5N,8] from "fc"
/// %4 = gelu(%3) {uses_tanh=false} : f32[5N,8] from "act"
/// %5 = reshape(%4) {shape=shape [N,5,8]} : f32[N,5,8] from "act"
/// ```
public struct SinkReshapes: Pass {
  public static let name = "sink-reshapes"
  public static let summary = "moves the reshape of a gemm's rows behind elementwise operators"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      let operation = try Catalog.operation(of: node)
      guard operation is any UnaryElementwise || operation is any BinaryElementwise,
        let table = try table(before: node, in: graph)
      else { continue }
      let sources = node.operands.map { operand in
        operand.flatMap { source(of: $0, as: table, for: node, in: graph) }
      }
      guard !sources.contains(where: { $0 == nil }) else {
        context.left(
          "the reshape before \(graph.title(node))",
          because: "another operand of it has neither its shape nor one element for each column")
        continue
      }
      var operands: [ValueID?] = []
      for source in sources.compactMap(\.self) {
        switch source {
        case .value(let value): operands.append(value)
        case .reshaped(let value, let shape):
          operands.append(
            try graph.append(
              Reshape(shape: shape), [value], origins: node.origins, before: id)[0])
        }
      }
      context.did("moved the reshape before \(graph.title(node)) behind it")
      let result = try graph.append(operation, operands, origins: node.origins, before: id)
      let shape = graph.type(of: node.results[0]).shape
      let reshapes = node.presentOperands.compactMap { graph.producer(of: $0) }
        .filter { $0.opcode == Reshape.opcode }
      try graph.replace(node, with: Reshape(shape: shape), [result[0]])
      graph.removeUnread(reshapes)
    }
  }

  /// Where an operand comes from.
  private enum Source {
    case value(ValueID)
    case reshaped(ValueID, TensorShape)
  }

  /// The shape [rows, columns] of an operand of `node` before its reshape; nil if there is none to move.
  private func table(before node: Node, in graph: Graph) throws -> TensorShape? {
    let result = graph.type(of: node.results[0])
    guard result.dtype == .float32, result.rank >= 3 else { return nil }
    for operand in node.presentOperands {
      guard Uses(graph).isPrivate(operand), graph.type(of: operand).shape == result.shape,
        let rows = rows(before: operand, in: graph), let producer = graph.producer(of: rows)
      else { continue }
      let operation = try Catalog.operation(of: producer)
      if operation is any ActivationFusing || operation is any UnaryElementwise {
        return graph.type(of: rows).shape
      }
    }
    return nil
  }

  /// The matrix with the same columns that `value` is a reshape of.
  private func rows(before value: ValueID, in graph: Graph) -> ValueID? {
    guard let node = graph.producer(of: value), node.opcode == Reshape.opcode,
      let x = node.operand(0), graph.type(of: x).rank == 2,
      graph.type(of: x).shape[1] == graph.type(of: value).shape.dimensions.last
    else { return nil }
    return x
  }

  private func source(
    of operand: ValueID, as table: TensorShape, for node: Node, in graph: Graph
  ) -> Source? {
    if let rows = rows(before: operand, in: graph), graph.type(of: rows).shape == table {
      return .value(rows)
    }
    let shape = graph.type(of: operand).shape
    if shape == graph.type(of: node.results[0]).shape { return .reshaped(operand, table) }
    guard shape.dimensions.dropLast().allSatisfy({ $0 == 1 }) else { return nil }
    return shape.rank < 2
      ? .value(operand) : .reshaped(operand, TensorShape(shape.dimensions.suffix(1)))
  }
}
