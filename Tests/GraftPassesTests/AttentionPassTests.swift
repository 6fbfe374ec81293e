// The passes around attention: products and a softmax that become one, transposes of rows that move to it, and
// movements that become its views.

import GraftPasses
import Testing

@Suite struct FuseAttentionTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "q" = input : f32[N,2,5,4]
      %1 "k" = input : f32[N,2,5,4]
      %2 "v" = input : f32[N,2,5,4]
      %3 "scale" = parameter : f32[]
      %4 "bias" = parameter : f32[1,2,5,5]
      """, body)
  }

  private func check(
    _ golden: String, fires: Bool = true, mode: PassMode = .inference, _ body: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try checkPass(
      FuseAttention(), "fuse-attention-\(golden)", fires: fires, mode: mode,
      constants: ["scale": [0.5]], text(body), sourceLocation: sourceLocation)
  }

  private let product = """
    %10 = transpose(%1) {permutation=[0, 1, 3, 2]} : f32[N,2,4,5] from "t"
    %11 = matmul(%0, %10) : f32[N,2,5,5] from "qk"
    """

  @Test func fires() throws {
    try check(
      "plain",
      product + """

        %12 = softmax(%11) {axis=3} : f32[N,2,5,5] from "softmax"
        %13 "y" = matmul(%12, %2) : f32[N,2,5,4] from "pv"
        output "y" = %13
        """)
  }

  /// torchvision scales q and k, timm the scores.
  @Test func takesScales() throws {
    try check(
      "scales",
      """
      %5 = mul(%0, %3) : f32[N,2,5,4] from "mul_q"
      %6 = transpose(%1) {permutation=[0, 1, 3, 2]} : f32[N,2,4,5] from "t"
      %7 = mul(%3, %6) : f32[N,2,4,5] from "mul_k"
      %8 = matmul(%5, %7) : f32[N,2,5,5] from "qk"
      %9 = div(%8, %3) : f32[N,2,5,5] from "div"
      %10 = add(%4, %9) : f32[N,2,5,5] from "bias"
      %11 = softmax(%10) {axis=3} : f32[N,2,5,5] from "softmax"
      %12 "y" = matmul(%11, %2) : f32[N,2,5,4] from "pv"
      output "y" = %12
      """)
  }

  private func checkWindows(
    _ golden: String, fires: Bool = true, k: String, added: String, _ body: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try checkPass(
      FuseAttention(), "fuse-attention-\(golden)", fires: fires,
      graphText(
        """
        %0 "q" = input : f32[3N,2,5,4]
        %1 "k" = input : \(k)
        %2 "v" = input : f32[3N,2,5,4]
        %3 "bias" = parameter : f32[1,2,5,5]
        %4 "added" = parameter : \(added)
        """, body), sourceLocation: sourceLocation)
  }

  /// k is already turned, and each head has a factor of its own, as in Swin V2.
  @Test func takesFactorsOfHeads() throws {
    try checkWindows(
      "factors", k: "f32[3N,2,4,5]", added: "f32[2,1,1]",
      """
      %5 = matmul(%0, %1) : f32[3N,2,5,5] from "qk"
      %6 = mul(%5, %4) : f32[3N,2,5,5] from "factor"
      %7 = softmax(%6) {axis=3} : f32[3N,2,5,5] from "softmax"
      %8 "y" = matmul(%7, %2) : f32[3N,2,5,4] from "pv"
      output "y" = %8
      """)
  }

  /// Factors of windows, which q does not have as an axis.
  @Test func leavesFactorsOfOtherAxes() throws {
    try checkWindows(
      "factors-of-windows", fires: false, k: "f32[3N,2,4,5]", added: "f32[3,1,1,1]",
      """
      %5 = matmul(%0, %1) : f32[3N,2,5,5] from "qk"
      %6 = reshape(%5) {shape=shape [N,3,2,5,5]} : f32[N,3,2,5,5] from "split"
      %7 = mul(%6, %4) : f32[N,3,2,5,5] from "factor"
      %8 = softmax(%7) {axis=4} : f32[N,3,2,5,5] from "softmax"
      %9 = reshape(%8) {shape=shape [3N,2,5,5]} : f32[3N,2,5,5] from "join"
      %10 "y" = matmul(%9, %2) : f32[3N,2,5,4] from "pv"
      output "y" = %10
      """)
  }

  /// A mask of windows, added where the batch and the windows are axes of their own.
  @Test func takesMasksOfWindows() throws {
    try checkWindows(
      "windows", k: "f32[3N,2,5,4]", added: "f32[1,3,1,5,5]",
      """
      %5 = transpose(%1) {permutation=[0, 1, 3, 2]} : f32[3N,2,4,5] from "t"
      %6 = matmul(%0, %5) : f32[3N,2,5,5] from "qk"
      %7 = add(%6, %3) : f32[3N,2,5,5] from "bias"
      %8 = reshape(%7) {shape=shape [N,3,2,5,5]} : f32[N,3,2,5,5] from "split"
      %9 = add(%8, %4) : f32[N,3,2,5,5] from "mask"
      %10 = reshape(%9) {shape=shape [3N,2,5,5]} : f32[3N,2,5,5] from "join"
      %11 = softmax(%10) {axis=3} : f32[3N,2,5,5] from "softmax"
      %12 "y" = matmul(%11, %2) : f32[3N,2,5,4] from "pv"
      output "y" = %12
      """)
  }

  @Test func leavesWhatReadsScores() throws {
    try check(
      "second-reader", fires: false,
      product + """

        %12 = softmax(%11) {axis=3} : f32[N,2,5,5] from "softmax"
        %13 = matmul(%12, %2) : f32[N,2,5,4] from "pv"
        output "y" = %13
        output "weights" = %12
        """)
    try check(
      "other-axis", fires: false,
      product + """

        %12 = softmax(%11) {axis=2} : f32[N,2,5,5] from "softmax"
        %13 = matmul(%12, %2) : f32[N,2,5,4] from "pv"
        output "y" = %13
        """)
  }

  /// A scale that training may change stays a multiplication.
  @Test func keepsTrainedScales() throws {
    try check(
      "trained-scale", fires: false, mode: .training,
      product + """

        %12 = mul(%11, %3) : f32[N,2,5,5] from "mul"
        %13 = softmax(%12) {axis=3} : f32[N,2,5,5] from "softmax"
        %14 = matmul(%13, %2) : f32[N,2,5,4] from "pv"
        output "y" = %14
        """)
  }
}

@Suite struct FoldAttentionViewsTests {
  /// torchvision's order: positions before the batch.
  @Test func fires() throws {
    try checkPass(
      FoldAttentionViews(), "fold-attention-views",
      graphText(
        #"%0 "x" = input : f32[5N,24]"#,
        """
        %1 = reshape(%0) {shape=shape [5,N,3,8]} : f32[5,N,3,8] from "r"
        %2 = transpose(%1) {permutation=[2, 0, 1, 3]} : f32[3,5,N,8] from "t"
        %3 = slice(%2) {axes=[0], starts=[0], extents=[1]} : f32[1,5,N,8] from "q"
        %4 = slice(%2) {axes=[0], starts=[1], extents=[1]} : f32[1,5,N,8] from "k"
        %5 = slice(%2) {axes=[0], starts=[2], extents=[1]} : f32[1,5,N,8] from "v"
        %6 = reshape(%3) {shape=shape [5,2N,4]} : f32[5,2N,4] from "q"
        %7 = reshape(%4) {shape=shape [5,2N,4]} : f32[5,2N,4] from "k"
        %8 = reshape(%5) {shape=shape [5,2N,4]} : f32[5,2N,4] from "v"
        %9 = transpose(%6) {permutation=[1, 0, 2]} : f32[2N,5,4] from "q"
        %10 = transpose(%7) {permutation=[1, 0, 2]} : f32[2N,5,4] from "k"
        %11 = transpose(%8) {permutation=[1, 0, 2]} : f32[2N,5,4] from "v"
        %12 = reshape(%9) {shape=shape [N,2,5,4]} : f32[N,2,5,4] from "q"
        %13 = reshape(%10) {shape=shape [N,2,5,4]} : f32[N,2,5,4] from "k"
        %14 = reshape(%11) {shape=shape [N,2,5,4]} : f32[N,2,5,4] from "v"
        %15, %16 = attention(%12, %13, %14) {scale=0.5} : f32[N,2,5,4], f32[N,2,5] from "a"
        %17 = transpose(%15) {permutation=[2, 0, 1, 3]} : f32[5,N,2,4] from "back"
        %18 "y" = reshape(%17) {shape=shape [5N,8]} : f32[5N,8] from "flat"
        output "y" = %18
        """))
  }

  @Test func readsPartsOfASplit() throws {
    try checkPass(
      FoldAttentionViews(), "fold-attention-views-split",
      graphText(
        #"%0 "x" = input : f32[N,5,24]"#,
        """
        %1, %2, %3 = split(%0) {axis=2, sizes=[8, 8, 8]} : f32[N,5,8], f32[N,5,8], f32[N,5,8] from "s"
        %4 = reshape(%1) {shape=shape [N,5,2,4]} : f32[N,5,2,4] from "q"
        %5 = reshape(%2) {shape=shape [N,5,2,4]} : f32[N,5,2,4] from "k"
        %6 = reshape(%3) {shape=shape [N,5,2,4]} : f32[N,5,2,4] from "v"
        %7 = transpose(%4) {permutation=[0, 2, 1, 3]} : f32[N,2,5,4] from "q"
        %8 = transpose(%5) {permutation=[0, 2, 1, 3]} : f32[N,2,5,4] from "k"
        %9 = transpose(%6) {permutation=[0, 2, 1, 3]} : f32[N,2,5,4] from "v"
        %10, %11 = attention(%7, %8, %9) {scale=0.5} : f32[N,2,5,4], f32[N,2,5] from "a"
        output "y" = %10
        """))
  }

  /// Components that lie apart cannot be a row; the movement of q stays.
  @Test func leavesComponentsThatLieApart() throws {
    try checkPass(
      FoldAttentionViews(), "fold-attention-views-apart", fires: false,
      graphText(
        """
        %0 "q" = input : f32[N,2,4,5]
        %1 "k" = input : f32[N,2,5,4]
        """,
        """
        %2 = transpose(%0) {permutation=[0, 1, 3, 2]} : f32[N,2,5,4] from "t"
        %3, %4 = attention(%2, %1, %1) {scale=0.5} : f32[N,2,5,4], f32[N,2,5] from "a"
        output "y" = %3
        """))
  }
}

@Suite struct SinkRowTransposesTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,5,4]
      %1 "w" = parameter : f32[4,8]
      """, body)
  }

  @Test func sinks() throws {
    try checkPass(
      SinkRowTransposes(), "sink-row-transposes",
      text(
        """
        %2 = transpose(%0) {permutation=[1, 0, 2]} : f32[5,N,4] from "t"
        %3 = reshape(%2) {shape=shape [5N,4]} : f32[5N,4] from "r"
        %4 = gemm(%3, %1) : f32[5N,8] from "fc"
        %5 = reshape(%4) {shape=shape [5,N,8]} : f32[5,N,8] from "b"
        %6 = transpose(%5) {permutation=[1, 0, 2]} : f32[N,5,8] from "u"
        output "y" = %6
        """))
  }

  @Test func hoists() throws {
    try checkPass(
      SinkRowTransposes(), "sink-row-transposes-before",
      graphText(
        """
        %0 "x" = input : f32[N,2,5,2]
        %1 "w" = parameter : f32[4,8]
        """,
        """
        %2 = transpose(%0) {permutation=[2, 0, 1, 3]} : f32[5,N,2,2] from "t"
        %3 = reshape(%2) {shape=shape [5N,4]} : f32[5N,4] from "r"
        %4 = gemm(%3, %1) : f32[5N,8] from "fc"
        %5 = reshape(%4) {shape=shape [5,N,8]} : f32[5,N,8] from "b"
        %6 = transpose(%5) {permutation=[1, 0, 2]} : f32[N,5,8] from "u"
        output "y" = %6
        """))
  }

  /// A result that is read as it is: the transpose would only become wider.
  @Test func leavesResultsThatNothingMoves() throws {
    try checkPass(
      SinkRowTransposes(), "sink-row-transposes-left", fires: false,
      text(
        """
        %2 = transpose(%0) {permutation=[1, 0, 2]} : f32[5,N,4] from "t"
        %3 = reshape(%2) {shape=shape [5N,4]} : f32[5N,4] from "r"
        %4 = gemm(%3, %1) : f32[5N,8] from "fc"
        %5 = reshape(%4) {shape=shape [5,N,8]} : f32[5,N,8] from "b"
        %6 = relu(%5) : f32[5,N,8] from "relu"
        output "y" = %6
        """))
  }
}
