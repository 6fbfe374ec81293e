// What passes make of a gemm with trained operands before gradients are appended.

import GraftPasses
import Testing

@Suite struct FuseBiasTests {
  private func check(_ golden: String, fires: Bool = true, _ body: String) throws {
    try checkPass(
      FuseBias(), "fuse-bias\(golden)", fires: fires, mode: .training,
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %1 "w" = parameter {trained=true} : f32[4,3]
        %2 "b" = parameter {trained=true} : f32[3]
        \(body)
      }
      """)
  }

  @Test func fires() throws {
    try check(
      "",
      """
      %10 = gemm(%0, %1) {alpha=0.5} : f32[N,3] from "fc"
      %11 "sum" = add(%2, %10) {activation="relu"} : f32[N,3] from "bias"
      output "y" = %11
      """)
  }

  @Test func leavesWhatIsNoVectorOfTheColumns() throws {
    try check(
      "-wrong-shape", fires: false,
      """
      %3 "s" = parameter {trained=true} : f32[1,1]
      %10 = gemm(%0, %1) : f32[N,3] from "fc"
      %11 = add(%10, %3) : f32[N,3] from "bias"
      output "y" = %11
      """)
  }

  @Test func leavesASecondReaderAndASecondBias() throws {
    try check(
      "-second-reader", fires: false,
      """
      %10 = gemm(%0, %1) : f32[N,3] from "fc"
      %11 = add(%10, %2) : f32[N,3] from "bias"
      %12 = relu(%10) : f32[N,3] from "relu"
      %13 = gemm(%0, %1, %2) : f32[N,3] from "fc2"
      %14 = add(%13, %2) : f32[N,3] from "bias2"
      output "y" = %11
      output "z" = %12
      output "u" = %14
      """)
  }
}

@Suite struct FoldColumnScaleTests {
  private func check(
    _ golden: String, fires: Bool = true, transposesB: Bool = false, _ body: String
  ) throws {
    try checkPass(
      FoldColumnScale(), "fold-column-scale\(golden)", fires: fires, mode: .training,
      """
      graph "g" {
        %0 "x" = input : f32[20N,4]
        %1 "w" = parameter {trained=true} : f32\(transposesB ? "[3,4]" : "[4,3]")
        %2 "b" = parameter {trained=true} : f32[3]
        %3 "s" = parameter {trained=true} : f32[3,1,1]
        \(body)
      }
      """)
  }

  @Test func firesThroughReshapesAndTransposes() throws {
    try check(
      "", transposesB: true,
      """
      %10 = gemm(%0, %1, %2) {transposes_b=true} : f32[20N,3] from "fc"
      %11 = reshape(%10) {shape=shape [N,4,5,3]} : f32[N,4,5,3] from "rows"
      %12 "image" = transpose(%11) {permutation=[0, 3, 1, 2]} : f32[N,3,4,5] from "t"
      %13 "scaled" = mul(%3, %12) : f32[N,3,4,5] from "scale"
      output "y" = %13
      """)
  }

  @Test func firesForAReshapedVector() throws {
    try check(
      "-reshaped",
      """
      %9 = reshape(%3) {shape=shape [3]} : f32[3] from "r"
      %10 = gemm(%0, %1) : f32[20N,3] from "fc"
      %13 = mul(%10, %9) : f32[20N,3] from "scale"
      output "y" = %13
      """)
  }

  @Test func leavesAnotherAxis() throws {
    try check(
      "-other-axis", fires: false,
      """
      %4 "t" = parameter {trained=true} : f32[5,1]
      %10 = gemm(%0, %1) : f32[20N,3] from "fc"
      %11 = reshape(%10) {shape=shape [N,4,5,3]} : f32[N,4,5,3] from "rows"
      %13 = mul(%11, %4) : f32[N,4,5,3] from "scale"
      output "y" = %13
      """)
  }

  @Test func leavesActivationsAndSecondReaders() throws {
    try check(
      "-activation", fires: false,
      """
      %9 = reshape(%3) {shape=shape [3]} : f32[3] from "r"
      %10 = gemm(%0, %1) {activation="relu"} : f32[20N,3] from "fc"
      %11 = mul(%10, %9) : f32[20N,3] from "scale"
      %12 = gemm(%0, %1) : f32[20N,3] from "fc2"
      %13 = mul(%12, %9) : f32[20N,3] from "scale2"
      output "y" = %11
      output "z" = %13
      output "u" = %12
      """)
  }

  @Test func leavesAComputedVector() throws {
    try check(
      "-computed", fires: false,
      """
      %9 = exp(%2) : f32[3] from "e"
      %10 = gemm(%0, %1) : f32[20N,3] from "fc"
      %13 = mul(%10, %9) : f32[20N,3] from "scale"
      output "y" = %13
      """)
  }
}
