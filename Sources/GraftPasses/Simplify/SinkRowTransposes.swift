// Transposes that only change the order of a gemm's rows.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A transpose that leaves the last axis in place orders the rows of a gemm, which the gemm does not mind: before a
/// gemm whose result is moved it goes behind it, and behind a gemm whose operand was moved it goes before it. It
/// then meets the other movement, or an attention, which reads and writes rows in any order of two axes.
///
/// ```
/// %2 = transpose(%0) {permutation=[1, 0, 2]} : f32[5,N,4] from "t"
/// %3 = reshape(%2) {shape=shape [5N,4]} : f32[5N,4] from "fc"
/// %4 = gemm(%3, %1) : f32[5N,8] from "fc"
/// %5 = reshape(%4) {shape=shape [5,N,8]} : f32[5,N,8] from "fc"
/// %6 = transpose(%5) {permutation=[1, 0, 2]} : f32[N,5,8] from "u"
/// ```
/// becomes
/// ```
/// %2 = reshape(%0) {shape=shape [5N,4]} : f32[5N,4] from "fc"
/// %3 = gemm(%2, %1) : f32[5N,8] from "fc"
/// %4 = reshape(%3) {shape=shape [N,5,8]} : f32[N,5,8] from "u"
/// ```
public struct SinkRowTransposes: Pass {
  public static let name = "sink-row-transposes"
  public static let summary = "moves transposes of a gemm's rows to other movements"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let gemm = try graph.operation(node, as: Gemm.self), !gemm.transposesA,
        node.operand(3) == nil, let rows = node.operand(0), hasBias(node, in: graph)
      else { continue }
      if try sink(node, gemm, rows, &graph) {
        context.did("moved the transpose of the rows of \(graph.title(node)) behind it")
      } else if try hoist(node, gemm, rows, &graph) {
        context.did("moved the transpose of the rows of \(graph.title(node)) before it")
      }
    }
  }

  /// Whether C, if any, is the same for all rows.
  private func hasBias(_ node: Node, in graph: Graph) -> Bool {
    guard let c = node.operand(2) else { return true }
    return graph.type(of: c).shape.dimensions.dropLast().allSatisfy { $0 == 1 }
  }

  /// Whether `shape` has the rows in all of its axes but the last.
  private func isRows(_ shape: TensorShape, of table: TensorShape) -> Bool {
    shape.rank >= 2 && shape.dimensions.last == table[1]
  }

  private func sink(
    _ node: Node, _ gemm: Gemm, _ rows: ValueID, _ graph: inout Graph
  ) throws -> Bool {
    let uses = Uses(graph)
    let result = node.results[0]
    guard let flat = graph.producer(of: rows), flat.opcode == Reshape.opcode,
      let ordered = flat.operand(0),
      isRows(graph.type(of: ordered).shape, of: graph.type(of: rows).shape),
      let (turn, transpose) = try graph.producer(of: ordered, as: Transpose.self),
      let source = turn.operand(0), transpose.permutation == [1, 0, 2], uses.isPrivate(rows),
      uses.isPrivate(ordered),
      let reader = uses.soleReader(of: result, in: graph),
      reader.opcode == Reshape.opcode,
      !uses.isOutput(reader.results[0]), !uses.readers(of: reader.results[0]).isEmpty,
      try uses.readers(of: reader.results[0]).allSatisfy({
        let next = try Catalog.operation(of: graph[$0])
        return next is Transpose || next is any ShapeChange || next is Slice || next is Attention
      })
    else { return false }
    let (table, columns) = (graph.type(of: rows).shape, graph.type(of: result).shape[1])
    func append(_ operation: any GraftOps.Operator, _ operands: [ValueID?]) throws -> ValueID {
      try graph.append(operation, operands, origins: node.origins, before: node.id)[0]
    }
    let plain = try append(Reshape(shape: table), [source])
    let product = try append(gemm, [plain] + node.operands.dropFirst())
    let leading = graph.type(of: source).shape.dimensions.dropLast()
    let back = try append(Reshape(shape: TensorShape(leading + [columns])), [product])
    let ordering = try append(transpose, [back])
    try graph.replace(
      node, with: Reshape(shape: [table[0], columns]), [ordering], absorbing: [flat, turn])
    return true
  }

  private func hoist(
    _ node: Node, _ gemm: Gemm, _ rows: ValueID, _ graph: inout Graph
  ) throws -> Bool {
    let uses = Uses(graph)
    let result = node.results[0]
    guard let back = uses.soleReader(of: result, in: graph), back.opcode == Reshape.opcode,
      let turn = uses.soleReader(of: back.results[0], in: graph),
      let transpose = try graph.operation(turn, as: Transpose.self),
      transpose.permutation == [1, 0, 2],
      isRows(graph.type(of: back.results[0]).shape, of: graph.type(of: result).shape),
      let flat = graph.producer(of: rows), flat.opcode == Reshape.opcode, uses.isPrivate(rows),
      let moved = flat.operand(0), uses.isPrivate(moved),
      let before = graph.producer(of: moved),
      [Transpose.opcode, Attention.opcode, Reshape.opcode].contains(before.opcode)
    else { return false }
    let table = graph.type(of: rows).shape
    let leading = graph.type(of: back.results[0]).shape.dimensions.dropLast()
    func append(_ operation: any GraftOps.Operator, _ operands: [ValueID?]) throws -> ValueID {
      try graph.append(operation, operands, origins: node.origins, before: node.id)[0]
    }
    let unflat = try append(Reshape(shape: TensorShape(leading + [table[1]])), [rows])
    let ordered = try append(transpose, [unflat])
    let plain = try append(Reshape(shape: table), [ordered])
    let product = try append(gemm, [plain] + node.operands.dropFirst())
    graph[product].name = graph[result].name
    try graph.replace(
      turn, with: Reshape(shape: graph.type(of: turn.results[0]).shape), [product],
      absorbing: [back, node])
    return true
  }
}
