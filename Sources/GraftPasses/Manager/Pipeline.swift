// The pipelines: which passes run, in which order, and why each sits where it does.

/// Lists of passes.
public enum Pipeline {
  /// What makes a graph as it was imported into the one that is laid out and scheduled: `graft dump
  /// --stage optimized`.
  public static let inference: [PipelineEntry] = [
    PipelineEntry(
      RemoveDeadCode(), because: "what nothing reads should neither cost time nor block a fusion"),
    PipelineEntry(
      WidenFloats(), because: "before constants are folded, which are float32 from here on"),
    PipelineEntry(
      FoldConstants(),
      because: "exporters compute weights with nodes, and later passes look for parameters"),
    PipelineEntry(
      Canonicalize(), because: "every later pass then knows one form of each computation"),
    PipelineEntry(
      MergeCommonSubexpressions(),
      because:
        "after canonicalizing, equal computations look equal; and a value that is made twice "
        + "hides that it has other readers"),
    PipelineEntry(
      RecognizeActivations(),
      because: "before constants are folded into convolutions: x + 3 there is part of an activation"
    ),
    PipelineEntry(
      LowerMatrixMultiply(), because: "so that what follows a MatMul can be folded into a gemm"),
    PipelineEntry(
      SinkTransposes(),
      because: "a transpose between a convolution and its reader hides one from the other"),
    PipelineEntry(
      Canonicalize(), because: "transposes that met and moved to small images may be reshapes now"),
    PipelineEntry(
      SimplifyGlobalPools(),
      because: "after transposes have gone, height and width are axes 2 and 3"),
    PipelineEntry(
      RecognizeChannelShuffle(), because: "its rank-5 transposes have no use for blocked layouts"),
    PipelineEntry(
      FoldPadding(),
      because: "before normalizations: which of them a convolution can take depends on its pads"),
    PipelineEntry(
      LowerChannelPadding(),
      because: "before additions are fused: a shortcut that is a convolution can take part"),
    PipelineEntry(
      JoinChannels(), because: "before scales are folded: the scale of all channels may be"),
    PipelineEntry(
      FoldBatchNormalization(),
      because: "before activations are fused: a normalization reads the bare convolution"),
    PipelineEntry(
      FoldIntoNextConvolution(),
      because: "what could not go into the convolution before may go into the one after"),
    PipelineEntry(
      LowerToScaleShift(), because: "what neither could take is one operator with one kernel"),
    PipelineEntry(
      FuseActivation(),
      because: "before residuals, so that an addition already carries the activation after it"),
    PipelineEntry(FuseResidual(), because: "the addition and its activation go as one"),
    PipelineEntry(
      MergeCommonSubexpressions(), because: "branches may have become equal"),
    PipelineEntry(
      RemoveDeadCode(), because: "folding leaves the original parameters behind"),
  ]

  /// What turns that graph into the one that kernels are generated for; scheduling in GraftPlanning
  /// follows. `graft dump --stage scheduled`.
  public static let layout: [PipelineEntry] = [
    PipelineEntry(
      AssignLayout(), because: "last, since a pattern with a conversion inside matches nothing")
  ]

  /// The names that `graft dump --after` takes, in the order in which the passes first run.
  public static let passNames: [String] = (inference + layout).map(\.name)
    .reduce(into: []) { names, name in if !names.contains(name) { names.append(name) } }
}
