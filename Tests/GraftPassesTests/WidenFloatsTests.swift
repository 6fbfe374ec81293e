// Networks in float16 brought to float32.

import Testing

@testable import GraftPasses

@Suite struct WidenFloatsTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,4]
      %1 "w" = parameter : f16[4,3]
      """, body)
  }

  @Test func widensWhatLiesBetweenCasts() throws {
    try checkPass(
      WidenFloats(), "widen-floats",
      text(
        """
        %2 = cast(%0) {dtype=type f16} : f16[N,4] from "narrow"
        %3 = gemm(%2, %1) : f16[N,3] from "fc"
        %4 = relu(%3) : f16[N,3] from "relu"
        %5 = cast(%4) {dtype=type bf16} : bf16[N,3] from "narrower"
        %6 "y" = cast(%5) {dtype=type f32} : f32[N,3] from "widen"
        output "y" = %6
        """))
  }

  /// FoldConstants computes the cast of a parameter; where something else reads the parameter too, it
  /// is float32 and the cast does nothing.
  @Test func leavesCastsOfParametersToFolding() throws {
    try checkPass(
      WidenFloats(), "widen-floats-parameters", fires: false,
      text(
        """
        %2 = cast(%1) {dtype=type f32} : f32[4,3] from "weights"
        %3 = gemm(%0, %2) : f32[N,3] from "fc"
        output "y" = %3
        """))
    try checkPass(
      WidenFloats(), "widen-floats-shared-parameter",
      text(
        """
        %2 = cast(%1) {dtype=type f32} : f32[4,3] from "weights"
        %3 = gemm(%0, %2) : f32[N,3] from "fc"
        %4 = cast(%3) {dtype=type f16} : f16[N,3] from "narrow"
        %5 = concat(%4, %1) {axis=0} : f16[7,3] from "join"
        %6 = cast(%5) {dtype=type f32} : f32[7,3] from "widen"
        output "y" = %6
        """.replacing("N,3", with: "3,3")
      )
      .replacing("input : f32[N,4]", with: "input : f32[3,4]"))
  }

  @Test func castsWhatCallersPass() throws {
    try checkPass(
      WidenFloats(), "widen-floats-input",
      text(
        """
        %2 = gemm(%0, %1) : f16[N,3] from "fc"
        %3 = relu(%2) : f16[N,3] from "relu"
        %4 = cast(%0) {dtype=type i32} : i32[N,4] from "whole"
        output "y" = %3
        output "x" = %0
        output "whole" = %4
        """
      ).replacing("input : f32", with: "input : f16"))
    try checkPass(
      WidenFloats(), "widen-floats-output",
      text(
        """
        %2 = cast(%0) {dtype=type f16} : f16[N,4] from "narrow"
        %3 = gemm(%2, %1) : f16[N,3] from "fc"
        output "y" = %3
        """))
  }

  @Test func leavesFloat32() throws {
    try checkPass(
      WidenFloats(), "widen-floats-nothing", fires: false,
      graphText("%0 \"x\" = input : f32[N,4]", "%1 = relu(%0) : f32[N,4]\noutput \"y\" = %1"))
  }
}
