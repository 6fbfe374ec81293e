// The pipelines: the passes in order, with the reason for the position of each.

/// Lists of passes.
public enum Pipeline {
  /// The passes from the imported graph to `graft dump --stage optimized`.
  public static let inference: [PipelineEntry] = [
    PipelineEntry(
      RemoveDeadCode(),
      because: "values without readers should neither cost time nor block a fusion"),
    PipelineEntry(
      WidenFloats(), because: "before constant folding, because constants are float32 from here on"),
    PipelineEntry(
      LowerToBytes(),
      because:
        "before constants are folded, because it reads how weights are stored, and before other passes move what "
        + "lies between the conversions"),
    PipelineEntry(
      FoldConstants(),
      because: "exporters compute weights with nodes, and later passes look for parameters"),
    PipelineEntry(
      Canonicalize(), because: "later passes then only need to match one form of each computation"),
    PipelineEntry(
      MergeCommonSubexpressions(),
      because:
        "after canonicalization, equal computations are identical; and a value that is computed twice "
        + "has fewer visible readers than it should"),
    PipelineEntry(
      RecognizeActivations(),
      because:
        "before constants are folded into convolutions, because x + 3 is part of an activation here"
    ),
    PipelineEntry(
      FuseAttention(),
      because: "before transposes and scales move, between which its products then lie"),
    PipelineEntry(
      LowerMatrixMultiply(), because: "so that operators after a MatMul can be folded into a gemm"),
    PipelineEntry(
      SinkTransposes(),
      because: "a transpose between a convolution and its reader prevents fusion"),
    PipelineEntry(
      SinkReshapes(), because: "and so does the reshape of a gemm's rows"),
    PipelineEntry(
      FoldConstants(), because: "what moved behind a gemm may be a constant for each of its columns"
    ),
    PipelineEntry(
      Canonicalize(),
      because: "merged transposes, and transposes of small images, may now be reshapes"),
    PipelineEntry(
      SimplifyGlobalPools(),
      because: "without transposes, height and width are axes 2 and 3"),
    PipelineEntry(
      RecognizeChannelShuffle(), because: "its rank-5 transposes do not support blocked layouts"),
    PipelineEntry(
      FoldPadding(),
      because: "before normalizations are folded, which depends on the padding of the convolution"),
    PipelineEntry(
      TrimKernels(), because: "with all padding in the convolution, before weights are scaled"),
    PipelineEntry(
      LowerChannelPadding(),
      because: "before additions are fused, because a shortcut may become a convolution"),
    PipelineEntry(
      JoinChannels(), because: "before scales are folded, because the joined scale may be foldable"),
    PipelineEntry(
      FoldBatchNormalization(),
      because:
        "before activations are fused, because a normalization reads the convolution without one"),
    PipelineEntry(
      FoldIntoNextConvolution(),
      because: "what could not be folded into the preceding convolution may be folded into the next"
    ),
    PipelineEntry(
      LowerToScaleShift(), because: "the remaining ones become one operator with one kernel"),
    PipelineEntry(
      FuseActivation(),
      because: "before residuals, so that an addition already includes the activation after it"),
    PipelineEntry(
      LowerTransposedConvolution(),
      because:
        "after normalizations and activations are folded, before the kernels of convolutions are chosen"
    ),
    PipelineEntry(
      SinkRowTransposes(),
      because: "after biases and activations are in the gemm, before its residual is"),
    PipelineEntry(
      SinkReshapes(), because: "the additions behind such a gemm can now be its residual"),
    PipelineEntry(
      FoldConstants(), because: "the bias of phases is repeated, and vectors have been reshaped"),
    PipelineEntry(FuseResidual(), because: "the addition is fused together with its activation"),
    PipelineEntry(
      MergeCommonSubexpressions(), because: "branches may have become identical"),
    PipelineEntry(
      RemoveDeadCode(), because: "folding leaves unused parameters behind"),
  ]

  /// The passes on the layers that train, before gradients are appended: what they make one operator has one
  /// gradient, and needs none of the values between its parts.
  public static let gradients: [PipelineEntry] = [
    PipelineEntry(RecognizeActivations(), because: "the gradient needs the argument alone"),
    PipelineEntry(FuseAttention(), because: "the gradient needs no matrix of scores"),
    PipelineEntry(
      LowerMatrixMultiply(),
      because: "the gradient of the weights then is a product in their own order"),
    PipelineEntry(
      SinkReshapes(), because: "the reshape of a gemm's rows is between the product and its bias"),
    PipelineEntry(FuseBias(), because: "the product without its bias then is no value"),
    PipelineEntry(
      FoldColumnScale(),
      because: "with the bias, the gradient of the scale is one of small matrices"),
  ]

  /// The passes about memory after inference; with scheduling in GraftPlanning, `graft dump --stage scheduled`.
  public static let layout: [PipelineEntry] = [
    PipelineEntry(
      FoldAttentionViews(),
      because:
        "after all other passes have moved and merged movements, and because a view is of memory"
    ),
    PipelineEntry(
      AssignLayout(),
      because: "last, because passes do not match patterns that contain layout conversions"),
  ]

  /// The names that `graft dump --after` takes, in the order in which the passes first run.
  public static let passNames: [String] = (inference + layout).map(\.name)
    .reduce(into: []) { names, name in if !names.contains(name) { names.append(name) } }
}
