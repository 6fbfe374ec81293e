import Testing

@testable import GraftPasses

@Suite struct SinkTransposesTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,4,5,6]
      %1 "w" = parameter : f32[4,4,1,1]
      %2 "channel" = parameter : f32[4]
      %3 "number" = parameter : f32[]
      %10 = transpose(%0) {permutation=[0, 2, 3, 1]} : f32[N,5,6,4] from "to-last"
      """, body)
  }

  @Test func pairsCancelThroughElementwise() throws {
    try checkPass(
      SinkTransposes(), "sink-transposes-elementwise",
      text(
        """
        %11 = relu(%10) : f32[N,5,6,4] from "relu"
        %12 = mul(%11, %2) : f32[N,5,6,4] from "channel"
        %13 = add(%3, %12) : f32[N,5,6,4] from "number"
        %14 "image" = transpose(%13) {permutation=[0, 3, 1, 2]} : f32[N,4,5,6] from "to-first"
        %15 = convolution(%14, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,4,5,6] from "conv"
        output "y" = %15
        """))
  }

  @Test func residualBlocksComeOutClean() throws {
    try checkPass(
      SinkTransposes(), "sink-transposes-residual",
      text(
        """
        %11 = transpose(%10) {permutation=[0, 3, 1, 2]} : f32[N,4,5,6] from "in"
        %12 = convolution(%11, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,4,5,6] from "conv"
        %13 = transpose(%12) {permutation=[0, 2, 3, 1]} : f32[N,5,6,4] from "out"
        %14 = add(%13, %10) : f32[N,5,6,4] from "add"
        %15 = relu(%14) : f32[N,5,6,4] from "relu"
        %16 = reduce_mean(%15) {axes=[1, 2], keeps_axes=false} : f32[N,4] from "mean"
        output "y" = %16
        """))
  }

  @Test func axesAreRenumbered() throws {
    try checkPass(
      SinkTransposes(), "sink-transposes-axes",
      text(
        """
        %11 = pad(%10) {pads=[0, 1, 0, 0, 0, 0, 2, 0]} : f32[N,6,8,4] from "pad"
        %12 = slice(%11) {axes=[1, 3], starts=[1, 0], extents=[3, 3]} : f32[N,3,8,3] from "slice"
        %13 = concat(%12, %12) {axis=3} : f32[N,3,8,6] from "concat"
        %14, %15 = split(%13) {axis=2, sizes=[3, 5]} : f32[N,3,3,6], f32[N,3,5,6] from "split"
        %16 = softmax(%14) {axis=3} : f32[N,3,3,6] from "softmax"
        %17 = reduce_mean(%15) {axes=[3]} : f32[N,3,5,1] from "mean"
        output "y" = %16
        output "z" = %17
        """))
  }

  @Test func stopsWhereOneReaderNeedsTheOrder() throws {
    try checkPass(
      SinkTransposes(), "sink-transposes-second-reader", fires: false,
      text(
        """
        %11 = relu(%10) : f32[N,5,6,4] from "relu"
        %12 = reshape(%10) {shape=shape [N,120]} : f32[N,120] from "flat"
        output "y" = %11
        output "z" = %12
        """))
  }

  @Test func stopsAtOutputsAndUnlikeOperands() throws {
    try checkPass(
      SinkTransposes(), "sink-transposes-output", fires: false,
      text(
        """
        %11 = relu(%10) : f32[N,5,6,4] from "relu"
        output "y" = %11
        output "z" = %10
        """))
    try checkPass(
      SinkTransposes(), "sink-transposes-wrong-shape", fires: false,
      text(
        """
        %11 = reshape(%0) {shape=shape [N,5,6,4]} : f32[N,5,6,4] from "reshape"
        %12 = add(%10, %11) : f32[N,5,6,4] from "add"
        output "y" = %12
        """))
  }
}
