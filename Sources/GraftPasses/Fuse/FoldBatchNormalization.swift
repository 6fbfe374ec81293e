// Folds per-channel scales and shifts into the preceding convolution or gemm.

import GraftDiagnostics
import GraftIR
import GraftOps

/// Batch normalization after a convolution is folded into its weights and bias; so is any other
/// multiplication or addition of per-channel constants.
///
/// ```
/// %6 = convolution(%0, %1) {…} : f32[N,64,8,8] from "conv1"
/// %7 = batch_normalization(%6, %2, %3, %4, %5) {epsilon=1e-05} : f32[N,64,8,8] from "bn1"
/// ```
/// becomes
/// ```
/// %3 = convolution(%0, %1, %2) {…} : f32[N,64,8,8] from "conv1", "bn1"
/// ```
/// with w' = w · γ/√(σ² + ε) per output channel and bias' = (bias − μ) · γ/√(σ² + ε) + β, computed in float64
/// and rounded once. Applies if the convolution's result has no other reader and is not an output, it has
/// neither residual nor activation yet, and all weights are constants.
public struct FoldBatchNormalization: Pass {
  public static let name = "fold-batch-normalization"
  public static let summary =
    "folds per-channel scale and shift into the preceding convolution or gemm"
  public static let modes: Set<PassMode> = [.inference]

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      guard let affine = try ChannelAffine(graph[id], in: graph, context),
        let producer = graph.producer(of: affine.x)
      else { continue }
      guard let operation = try Catalog.operation(of: producer) as? any LinearOperator else {
        continue
      }
      let what = "\(graph.title(affine.node)) after \(graph.title(producer))"
      if let obstacle = Uses(graph).obstacle(affine.x) {
        context.left(what, because: obstacle)
      } else if let reason = try fold(affine, into: producer, operation, &graph, context) {
        context.left(what, because: reason)
      } else {
        context.did("folded \(graph.title(affine.node)) into \(graph.title(producer))")
      }
    }
  }

  /// - Returns: why it could not be done, or nil.
  private func fold(
    _ affine: ChannelAffine, into producer: Node, _ operation: any LinearOperator,
    _ graph: inout Graph, _ context: PassContext
  ) throws -> String? {
    let residual = type(of: operation).position(of: .residual)
    guard operation.activation == .none, residual.flatMap({ producer.operand($0) }) == nil else {
      return "the \(producer.opcode) already has an activation"
        + (residual == nil ? "" : " or a residual")
    }
    guard
      let (weights, bias) = try operation.linearWeights(of: producer, in: graph, context)?
        .scaled(by: affine.scale, shift: affine.shift).add(
          to: &graph, "folded \(affine.node.opcode) \(graph.title(affine.node))")
    else { return Self.notConstant }
    var folded: any LinearOperator = operation.withFactorsFolded
    folded.activation = affine.activation
    try graph.replace(
      affine.node, with: folded, [producer.operand(0), weights, bias], absorbing: [producer])
    return nil
  }

  static let notConstant = "weights are not constants, or would not be finite in float32"
}
