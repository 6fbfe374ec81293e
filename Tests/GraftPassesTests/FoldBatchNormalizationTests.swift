import Testing

@testable import GraftPasses

@Suite struct FoldBatchNormalizationTests {
  private let header = """
    graph "g" {
      %0 "x" = input : f32[N,3,5,5]
      %1 "w" = parameter : f32[4,3,3,3]
      %2 "gamma" = parameter : f32[4]
      %3 "beta" = parameter : f32[4]
      %4 "mean" = parameter : f32[4]
      %5 "variance" = parameter : f32[4]
      %6 "k" = parameter : f32[4,1,1]

    """
  private let convolution =
    "%10 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,4,5,5] from \"conv\"\n"
  private func normalization(_ result: Int, of x: Int) -> String {
    "%\(result) \"bn.out\" = batch_normalization(%\(x), %2, %3, %4, %5) {epsilon=1e-05} "
      + ": f32[N,4,5,5] from \"bn\"\n"
  }

  @Test func fires() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization",
      header + convolution + normalization(11, of: 10) + "output \"y\" = %11 }")
  }

  @Test func firesWithBiasAndArithmetic() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-arithmetic",
      header
        + """
        %10 = convolution(%0, %1, %3) {strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,4,2,2] from "conv"
        %11 = mul(%6, %10) : f32[N,4,2,2] from "mul"
        %12 = sub(%6, %11) : f32[N,4,2,2] from "sub"
        output "y" = %12 }
        """)
  }

  @Test func firesOnGroups() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-groups",
      """
      graph "g" {
        %0 "x" = input : f32[N,4,5,5]
        %1 "w" = parameter : f32[4,2,3,3]
        %2 "gamma" = parameter : f32[4]
        %3 "beta" = parameter : f32[4]
        %4 "mean" = parameter : f32[4]
        %5 "variance" = parameter : f32[4]
        %10 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1], groups=2} : f32[N,4,5,5]
        %11 = batch_normalization(%10, %2, %3, %4, %5) {epsilon=0.001} : f32[N,4,5,5] from "bn"
        output "y" = %11
      }
      """)
  }

  @Test func firesOnGemm() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-gemm",
      """
      graph "g" {
        %0 "x" = input : f32[N,3]
        %1 "w" = parameter : f32[4,3]
        %2 "gamma" = parameter : f32[4]
        %3 "beta" = parameter : f32[4]
        %4 "mean" = parameter : f32[4]
        %5 "variance" = parameter : f32[4]
        %10 = gemm(%0, %1, %3) {alpha=0.5, beta=2.0, transposes_b=true} : f32[N,4] from "fc"
        %11 = batch_normalization(%10, %2, %3, %4, %5) {epsilon=1e-05} : f32[N,4] from "bn"
        output "y" = %11
      }
      """)
  }

  @Test func leavesSecondReader() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-second-reader", fires: false,
      header + convolution + normalization(11, of: 10)
        + "%12 = relu(%10) : f32[N,4,5,5] output \"y\" = %11 output \"z\" = %12 }")
  }

  @Test func leavesOutput() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-output", fires: false,
      header + convolution + normalization(11, of: 10)
        + "output \"y\" = %11 output \"z\" = %10 }")
  }

  @Test func leavesActivationBetween() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-activation", fires: false,
      header
        + "%9 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1], activation=\"relu\"}"
        + " : f32[N,4,5,5] from \"conv\"" + normalization(11, of: 9) + "output \"y\" = %11 }")
  }

  @Test func leavesConstantsThatVaryOverTheImage() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-wrong-shape", fires: false,
      """
      graph "g" {
        %0 "x" = input : f32[N,3,5,5]
        %1 "w" = parameter : f32[4,3,1,1]
        %2 "k" = parameter : f32[5]
        %10 = convolution(%0, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,4,5,5] from "conv"
        %11 = mul(%10, %2) : f32[N,4,5,5] from "mul"
        output "y" = %11
      }
      """)
  }

  @Test func leavesTrainingAlone() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-training", fires: false, mode: .training,
      header + convolution + normalization(11, of: 10) + "output \"y\" = %11 }")
  }

  @Test func leavesWhatWouldOverflow() throws {
    try checkPass(
      FoldBatchNormalization(), "fold-batch-normalization-overflow", fires: false,
      constants: ["gamma": [3e38], "variance": [0]],
      header + convolution + normalization(11, of: 10) + "output \"y\" = %11 }")
  }
}
