// Folds per-channel scales and shifts into the next convolution or gemm.

import GraftDiagnostics
import GraftIR
import GraftOps

/// A batch normalization, or a scale and shift, whose only reader is a convolution is folded into it.
///
/// ```
/// %7 = batch_normalization(%0, %2, %3, %4, %5) {epsilon=1e-05} : f32[N,8,8,8] from "bn"
/// %8 = convolution(%7, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,4,8,8] from "conv"
/// ```
/// becomes
/// ```
/// %3 = convolution(%0, %1, %2) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,4,8,8] from "bn", "conv"
/// ```
/// with w' = w · scale per input channel and bias' = bias + Σ w · shift. The padding is zero after the shift,
/// but would be zero before it, so a convolution with padding can absorb only a scale.
public struct FoldIntoNextConvolution: Pass {
  public static let name = "fold-into-next-convolution"
  public static let summary = "folds per-channel scale and shift into the next convolution or gemm"
  public static let modes: Set<PassMode> = [.inference]

  public init() {}

  public func run(_ graph: inout Graph, _ context: inout PassContext) throws {
    for id in graph.nodeIDs where graph.contains(id) {
      guard let affine = try ChannelAffine(graph[id], in: graph, context),
        affine.activation == .none,
        let reader = Uses(graph).soleReader(of: affine.node.results[0], in: graph),
        reader.operand(0) == affine.node.results[0]
      else { continue }
      let what = "\(graph.title(affine.node)) before \(graph.title(reader))"
      let derivation = "folded \(affine.node.opcode) \(graph.title(affine.node))"
      if let convolution = try graph.operation(reader, as: Convolution.self) {
        guard convolution.pads.allSatisfy({ $0 == 0 }) || affine.shift.allSatisfy({ $0 == 0 })
        else {
          context.left(
            what, because: "the convolution pads with zeros, to which the shift would apply")
          continue
        }
        guard
          let (weights, bias) = try LinearWeights(convolution: reader, in: graph, context)?
            .reading(affine.scale, shift: affine.shift).add(to: &graph, derivation)
        else {
          context.left(what, because: FoldBatchNormalization.notConstant)
          continue
        }
        context.did("folded \(graph.title(affine.node)) into \(graph.title(reader))")
        try graph.replace(
          reader, with: convolution, [affine.x, weights, bias] + reader.operands.dropFirst(3),
          absorbing: [affine.node])
      } else if let gemm = try graph.operation(reader, as: Gemm.self), !gemm.transposesA {
        guard
          let (weights, bias) = try LinearWeights(gemm: reader, gemm, in: graph, context)?
            .reading(affine.scale, shift: affine.shift).add(to: &graph, derivation)
        else {
          context.left(what, because: FoldBatchNormalization.notConstant)
          continue
        }
        context.did("folded \(graph.title(affine.node)) into \(graph.title(reader))")
        try graph.replace(
          reader, with: Gemm(transposesB: gemm.transposesB, activation: gemm.activation),
          [affine.x, weights, bias], absorbing: [affine.node])
      }
    }
  }
}
