// Fuses the addition of a shortcut into the convolution or normalization that computes the other summand.

import GraftDiagnostics
import GraftIR
import GraftOps

/// An addition of two images of the same shape, one of which is the result of a convolution without other
/// readers, becomes the convolution's residual, with the following activation. In training, where the
/// normalization after the convolution is not folded, the normalization gets the residual.
///
/// ```
/// %3 = convolution(%0, %1) {…} : f32[N,8,8,8] from "conv"
/// %4 = add(%3, %2) {activation="relu"} : f32[N,8,8,8] from "add", "relu"
/// ```
/// becomes
/// ```
/// %3 = convolution(%0, %1, _, %2) {…, activation="relu"} : f32[N,8,8,8] from "conv", "add", "relu"
/// ```
/// If both summands come from such nodes, the later one gets the residual, because the other is already
/// computed.
public struct FuseResidual: Pass {
  public static let name = "fuse-residual"
  public static let summary = "fuses the addition of a shortcut into the preceding convolution"

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      let node = graph[id]
      guard let (add, a, b) = try graph.addition(node) else { continue }
      let order = Dictionary(
        graph.nodeIDs.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
      let candidates = [(a, b), (b, a)].sorted { left, right in
        position(left.0, graph, order) > position(right.0, graph, order)
      }
      for (summand, residual) in candidates {
        guard let producer = graph.producer(of: summand),
          var fused = try Catalog.operation(of: producer) as? any ActivationFusing,
          let residualPosition = type(of: fused).position(of: .residual)
        else { continue }
        let what = "\(graph.title(node)) after \(graph.title(producer))"
        if let reason = obstacle(fused, producer, summand, residual, in: graph) {
          context.left(what, because: reason)
          continue
        }
        fused.activation = add.activation
        let operands = (0..<residualPosition).map { producer.operand($0) } + [residual]
        context.did("fused \(graph.title(node)) into \(graph.title(producer))")
        try graph.replace(node, with: fused, operands, absorbing: [producer])
        break
      }
    }
  }

  private func obstacle(
    _ operation: any ActivationFusing, _ producer: Node, _ summand: ValueID, _ residual: ValueID,
    in graph: Graph
  ) -> String? {
    if let obstacle = Uses(graph).obstacle(summand) { return obstacle }
    let position = type(of: operation).position(of: .residual)
    if operation.activation != .none || position.flatMap({ producer.operand($0) }) != nil {
      return "there already is an activation or a residual"
    }
    guard graph.type(of: residual) == graph.type(of: summand) else {
      return "the summands are \(graph.type(of: summand)) and \(graph.type(of: residual))"
    }
    return graph[residual].parameter == nil ? nil : "the other summand is a constant"
  }

  private func position(_ value: ValueID, _ graph: Graph, _ order: [NodeID: Int]) -> Int {
    graph.producer(of: value).flatMap { order[$0.id] } ?? -1
  }
}
