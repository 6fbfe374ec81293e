// Scales of a gemm's columns, as layer scales are (Touvron et al. 2021, arXiv:2103.17239), before gradients.

import GraftDiagnostics
import GraftIR
import GraftOps

/// The product of a gemm's columns and a vector becomes one of its matrix and bias:
/// (x · W + b) · s = x · (W · s) + b · s. Reshapes and transposes may lie between the two.
///
/// The gradient of the vector then is computed from that of the matrix, and no value with rows is kept or multiplied
/// for it. Constants are folded by ``FoldBatchNormalization`` instead, once.
///
/// ```
/// %3 = gemm(%0, %1) {transposes_b=true} : f32[5N,8] from "fc"
/// %4 = mul(%3, %2) : f32[5N,8] from "scale"
/// ```
/// becomes
/// ```
/// %3 = reshape(%2) {shape=shape [8,1]} : f32[8,1] from "scale"
/// %4 = mul(%1, %3) : f32[8,4] from "scale"
/// %5 = gemm(%0, %4) {transposes_b=true} : f32[5N,8] from "fc"
/// ```
public struct FoldColumnScale: Pass {
  public static let name = "fold-column-scale"
  public static let summary = "moves a scale of a gemm's columns to its matrix and bias"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let product = try graph.operation(node, as: Multiply.self), product.activation == .none,
        let a = node.operand(0), let b = node.operand(1)
      else { continue }
      for (image, scale) in [(a, b), (b, a)] {
        guard let found = try gemm(before: image, scaledBy: scale, node, in: graph),
          let vector = try parameter(of: scale, in: graph)
        else { continue }
        let (gemm, operation) = found
        let what = "\(graph.title(node)) after \(graph.title(gemm))"
        if operation.activation != .none || gemm.operand(3) != nil {
          context.left(what, because: "there is an activation or a residual")
          continue
        }
        context.did("folded \(graph.title(node)) into the matrix of \(graph.title(gemm))")
        try fold(vector, into: gemm, operation, &graph, origins: node.origins)
        graph.bypass(node, with: image)
        break
      }
    }
  }

  /// The parameter that `value` is, or that it is a reshape of: what is computed may come after the gemm.
  private func parameter(of value: ValueID, in graph: Graph) throws -> ValueID? {
    var value = value
    while let producer = graph.producer(of: value) {
      guard try Catalog.operation(of: producer) is any ShapeChange, let x = producer.operand(0)
      else { return nil }
      value = x
    }
    return graph[value].parameter == nil ? nil : value
  }

  /// The gemm that `image` is a movement of, if the vector `scale` has one element for each of its columns.
  private func gemm(
    before image: ValueID, scaledBy scale: ValueID, _ node: Node, in graph: Graph
  ) throws -> (node: Node, operation: Gemm)? {
    let (type, own) = (graph.type(of: image), graph.type(of: scale))
    guard type.dtype == .float32, own.dtype == .float32, own.rank <= type.rank,
      type.shape == graph.type(of: node.results[0]).shape,
      let long = own.shape.dimensions.lastIndex(where: { $0 != 1 }),
      own.shape.dimensions.count(where: { $0 != 1 }) == 1, !own.shape[long].isBatch
    else { return nil }
    let uses = Uses(graph)
    var (value, axis) = (image, long + type.rank - own.rank)
    guard type.shape[axis] == own.shape[long] else { return nil }
    while uses.isPrivate(value), let producer = graph.producer(of: value) {
      let shape = graph.type(of: value).shape
      switch try Catalog.operation(of: producer) {
      case let gemm as Gemm:
        return axis == 1 ? (producer, gemm) : nil
      case let transpose as Transpose:
        axis = transpose.permutation[axis]
      case is any ShapeChange:
        guard let x = producer.operand(0), axis == shape.rank - 1 else { return nil }
        let before = graph.type(of: x).shape
        guard before.dimensions.last == shape[axis] else { return nil }
        axis = before.rank - 1
      default: return nil
      }
      guard let next = producer.operand(0) else { return nil }
      value = next
    }
    return nil
  }

  private func fold(
    _ scale: ValueID, into gemm: Node, _ operation: Gemm, _ graph: inout Graph, origins: [String]
  ) throws {
    guard let matrix = gemm.operand(1),
      let count = graph.type(of: scale).shape.elementCount
    else { return }
    func add(_ operation: any Operator, _ operands: [ValueID?]) throws -> ValueID {
      try graph.append(operation, operands, origins: origins, before: gemm.id)[0]
    }
    func shaped(_ shape: TensorShape) throws -> ValueID {
      graph.type(of: scale).shape == shape ? scale : try add(Reshape(shape: shape), [scale])
    }
    let factor = try shaped(operation.transposesB ? [count, 1] : [count])
    var operands = gemm.operands
    operands[1] = try add(Multiply(), [matrix, factor])
    if let bias = gemm.operand(2) {
      operands[2] = try add(Multiply(), [bias, try shaped([count])])
    }
    graph[gemm.id].operands = operands
  }
}
