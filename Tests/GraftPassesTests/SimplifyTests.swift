// Simplifications: canonical forms, constants, equal and dead nodes, global pools.

import Testing

@testable import GraftPasses

@Suite struct CanonicalizeTests {
  private func text(_ body: String) -> String { graphText("%0 \"x\" = input : f32[N,8,2,3]", body) }

  @Test func removesWhatDoesNothing() throws {
    try checkPass(
      Canonicalize(), "canonicalize-nothing",
      text(
        """
        %1 = identity(%0) : f32[N,8,2,3] from "identity"
        %2 = dropout(%1) {ratio=0.5} : f32[N,8,2,3] from "dropout"
        %3 = relu(%2) : f32[N,8,2,3] from "relu"
        %4 = reshape(%3) {shape=shape [N,8,2,3]} : f32[N,8,2,3] from "reshape"
        %5 = transpose(%4) {permutation=[0, 1, 2, 3]} : f32[N,8,2,3] from "transpose"
        %6 = pad(%5) {pads=[0, 0, 0, 0, 0, 0, 0, 0]} : f32[N,8,2,3] from "pad"
        %7 = slice(%6) {axes=[1], starts=[0], extents=[8]} : f32[N,8,2,3] from "slice"
        %8 = concat(%7) {axis=1} : f32[N,8,2,3] from "concat"
        %9 = clip(%8) {low=-inf, high=inf} : f32[N,8,2,3] from "clip"
        %10 = cast(%9) {dtype=type f32} : f32[N,8,2,3] from "cast"
        %11 = expand(%10) {shape=shape [N,8,2,3]} : f32[N,8,2,3] from "expand"
        %12 "last" = max_pool(%11) {kernel=[1, 1], strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,8,2,3]
        output "y" = %12
        """))
  }

  @Test func makesReshapes() throws {
    try checkPass(
      Canonicalize(), "canonicalize-reshapes",
      text(
        """
        %1 = flatten(%0) {axis=2} : f32[8N,6] from "flatten"
        %2 = unsqueeze(%1) {axes=[1]} : f32[8N,1,6] from "unsqueeze"
        %3 = squeeze(%2) {axes=[1]} : f32[8N,6] from "squeeze"
        %4 = reshape(%3) {shape=shape [N,48]} : f32[N,48] from "reshape"
        output "y" = %4
        """))
  }

  @Test func keepsReshapesWithOtherReaders() throws {
    try checkPass(
      Canonicalize(), "canonicalize-reshape-second-reader",
      text(
        """
        %1 = flatten(%0) {axis=1} : f32[N,48] from "flatten"
        %2 = reshape(%1) {shape=shape [N,16,3]} : f32[N,16,3] from "reshape"
        output "y" = %1
        output "z" = %2
        """))
  }

  @Test func mergesTransposes() throws {
    try checkPass(
      Canonicalize(), "canonicalize-transposes",
      text(
        """
        %1 = transpose(%0) {permutation=[0, 2, 3, 1]} : f32[N,2,3,8] from "a"
        %2 = transpose(%1) {permutation=[0, 2, 1, 3]} : f32[N,3,2,8] from "b"
        %3 = global_average_pool(%2) : f32[N,3,1,1] from "mean"
        %4 = transpose(%3) {permutation=[0, 2, 3, 1]} : f32[N,1,1,3] from "c"
        output "y" = %4
        """))
  }

  @Test func makesSumsAdditions() throws {
    try checkPass(
      Canonicalize(), "canonicalize-sum",
      text(
        """
        %1 = relu(%0) : f32[N,8,2,3] from "relu"
        %2 = tanh(%0) : f32[N,8,2,3] from "tanh"
        %3 "sum.out" = sum(%0, %1, %2) : f32[N,8,2,3] from "sum"
        output "y" = %3
        """))
  }

  @Test func oneIndexIsASlice() throws {
    try checkPass(
      Canonicalize(), "canonicalize-gather", constants: ["index": [-1], "two": [0, 1]],
      """
      graph "g" {
        %0 "x" = input : f32[N,8,2,3]
        %1 "index" = parameter : i64[]
        %2 "two" = parameter : i64[2]
        %3 = gather(%0, %1) {axis=1} : f32[N,2,3] from "last"
        %4 = unsqueeze(%3) {axes=[1]} : f32[N,1,2,3] from "unsqueeze"
        %5 = gather(%0, %2) {axis=1} : f32[N,2,2,3] from "pair"
        output "y" = %4
        output "z" = %5
      }
      """)
  }

  @Test func limitsMeet() throws {
    try checkPass(
      Canonicalize(), "canonicalize-limits",
      text(
        """
        %1 = clip(%0) {low=0.0, high=inf} : f32[N,8,2,3] from "positive"
        %2 = clip(%1) {low=0.0, high=2.0} : f32[N,8,2,3] from "two"
        output "y" = %2
        """))
  }

  @Test func trainingKeepsDropout() throws {
    try checkPass(
      Canonicalize(), "canonicalize-training", fires: false, mode: .training,
      text("%1 = dropout(%0) {ratio=0.5} : f32[N,8,2,3] from \"dropout\"\noutput \"y\" = %1"))
  }

  @Test func keepsWhatDoesSomething() throws {
    try checkPass(
      Canonicalize(), "canonicalize-something", fires: false,
      text(
        """
        %1 = slice(%0) {axes=[3], starts=[2], extents=[3], steps=[-1]} : f32[N,8,2,3] from "flip"
        %2 = transpose(%1) {permutation=[0, 1, 3, 2]} : f32[N,8,3,2] from "transpose"
        %3 = max_pool(%2) {kernel=[1, 1], strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,8,2,1]
        %4 = concat(%3, %3) {axis=1} : f32[N,16,2,1] from "concat"
        output "y" = %4
        """))
  }
}

@Suite struct FoldConstantsTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,4]
      %1 "w" = parameter : f32[4,4]
      %2 "k" = parameter : f32[4]
      """, body)
  }

  @Test func fires() throws {
    try checkPass(
      FoldConstants(), "fold-constants",
      text(
        """
        %3 = transpose(%1) {permutation=[1, 0]} : f32[4,4] from "transpose"
        %4 "scaled" = mul(%3, %2) : f32[4,4] from "mul"
        %5 = gemm(%0, %4) : f32[N,4] from "fc"
        output "y" = %5
        """))
  }

  @Test func leavesOutputsAndLargeResults() throws {
    try checkPass(
      FoldConstants(), "fold-constants-left", fires: false,
      text(
        """
        %3 = relu(%2) : f32[4] from "relu"
        %4 = expand(%2) {shape=shape [2048,64,4]} : f32[2048,64,4] from "expand"
        %5 = mul(%4, %0) : f32[2048,64,4] from "mul"
        output "y" = %3
        output "z" = %5
        """.replacing("%5 = mul(%4, %0)", with: "%5 = relu(%4)")))
  }

  @Test func trainingLeavesWhatItTrains() throws {
    try checkPass(
      FoldConstants(), "fold-constants-training", fires: false, mode: .training,
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %1 "w" = parameter {trained=true} : f32[4,4]
        %3 = transpose(%1) {permutation=[1, 0]} : f32[4,4] from "transpose"
        %5 = gemm(%0, %3) : f32[N,4] from "fc"
        output "y" = %5
      }
      """)
  }
}

@Suite struct MergeTests {
  @Test func mergesEqualNodes() throws {
    try checkPass(
      MergeCommonSubexpressions(), "merge-common-subexpressions",
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %1 = leaky_relu(%0) {alpha=0.1} : f32[N,4] from "a"
        %2 = leaky_relu(%0) {alpha=0.1} : f32[N,4] from "b"
        %3 = tanh(%1) : f32[N,4] from "c"
        %4 = tanh(%2) : f32[N,4] from "d"
        %5 = leaky_relu(%0) {alpha=0.2} : f32[N,4] from "e"
        %6 = add(%3, %4) : f32[N,4] from "f"
        %7 = add(%6, %5) : f32[N,4] from "g"
        output "y" = %7
      }
      """)
  }

  @Test func keepsTwoOutputsApart() throws {
    try checkPass(
      MergeCommonSubexpressions(), "merge-common-subexpressions-outputs", fires: false,
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %1 = relu(%0) : f32[N,4] from "a"
        %2 = relu(%0) : f32[N,4] from "b"
        output "y" = %1
        output "z" = %2
      }
      """)
  }

  @Test func removesDeadCode() throws {
    try checkPass(
      RemoveDeadCode(), "remove-dead-code",
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %9 "unused" = input : f32[N,4]
        %1 "w" = parameter : f32[4,4]
        %2 = relu(%0) : f32[N,4] from "used"
        %3 = gemm(%0, %1) : f32[N,4] from "dead"
        %4 = tanh(%3) : f32[N,4] from "deader"
        output "y" = %2
      }
      """)
  }

  @Test func keepsWhatIsRead() throws {
    try checkPass(
      RemoveDeadCode(), "remove-dead-code-alive", fires: false,
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %1, %2 = split(%0) {axis=1, sizes=[2, 2]} : f32[N,2], f32[N,2] from "split"
        output "y" = %2
      }
      """)
  }
}

@Suite struct GlobalPoolTests {
  private func text(_ body: String) -> String { graphText("%0 \"x\" = input : f32[N,4,3,5]", body) }

  @Test func fires() throws {
    try checkPass(
      SimplifyGlobalPools(), "simplify-global-pools",
      text(
        """
        %1 = reduce_mean(%0) {axes=[2, 3]} : f32[N,4,1,1] from "keeps"
        %2 "flat" = reduce_mean(%0) {axes=[2, 3], keeps_axes=false} : f32[N,4] from "drops"
        %3 = average_pool(%0) {kernel=[3, 5], strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,4,1,1]
        %4 = max_pool(%0) {kernel=[3, 5], strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,4,1,1]
        output "a" = %1
        output "b" = %2
        output "c" = %3
        output "d" = %4
        """))
  }

  @Test func leavesParts() throws {
    try checkPass(
      SimplifyGlobalPools(), "simplify-global-pools-parts", fires: false,
      text(
        """
        %1 = reduce_mean(%0) {axes=[1, 2]} : f32[N,1,1,5] from "other"
        %2 = average_pool(%0) {kernel=[3, 3], strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,4,1,3]
        output "a" = %1
        output "b" = %2
        """))
  }

  @Test func recognizesTheShuffle() throws {
    try checkPass(
      RecognizeChannelShuffle(), "recognize-channel-shuffle",
      text(
        """
        %1 = reshape(%0) {shape=shape [N,2,2,3,5]} : f32[N,2,2,3,5] from "split"
        %2 = transpose(%1) {permutation=[0, 2, 1, 3, 4]} : f32[N,2,2,3,5] from "swap"
        %3 "shuffled" = reshape(%2) {shape=shape [N,4,3,5]} : f32[N,4,3,5] from "join"
        output "y" = %3
        """))
  }

  @Test func leavesOtherRank5Transposes() throws {
    try checkPass(
      RecognizeChannelShuffle(), "recognize-channel-shuffle-wrong-shape", fires: false,
      text(
        """
        %1 = reshape(%0) {shape=shape [N,2,2,5,3]} : f32[N,2,2,5,3] from "split"
        %2 = transpose(%1) {permutation=[0, 2, 1, 3, 4]} : f32[N,2,2,5,3] from "swap"
        %3 = reshape(%2) {shape=shape [N,4,3,5]} : f32[N,4,3,5] from "join"
        output "y" = %3
        """))
    try checkPass(
      RecognizeChannelShuffle(), "recognize-channel-shuffle-second-reader", fires: false,
      text(
        """
        %1 = reshape(%0) {shape=shape [N,2,2,3,5]} : f32[N,2,2,3,5] from "split"
        %2 = transpose(%1) {permutation=[0, 2, 1, 3, 4]} : f32[N,2,2,3,5] from "swap"
        %3 = reshape(%2) {shape=shape [N,4,3,5]} : f32[N,4,3,5] from "join"
        output "y" = %3
        output "z" = %2
        """))
  }
}
