// Convolutions in another form: transposed ones as their phases, kernels without taps that meet only padding.

import Testing

@testable import GraftPasses

@Suite struct ConvolutionFormTests {
  private let weights = (0..<48).map { Double($0 % 13) - 6 }

  @Test func phasesOfTransposedConvolutions() throws {
    for (name, attributes, size) in [
      ("even", "strides=[2, 2], pads=[0, 0, 0, 0]", "8,6"),
      ("uneven", "strides=[3, 2], pads=[1, 0, 0, 1], output_pads=[1, 0]", "11,5"),
      ("dilated", "strides=[1, 2], pads=[1, 0, 1, 0], dilations=[2, 1]", "4,6"),
    ] {
      try checkPass(
        LowerTransposedConvolution(), "lower-transposed-convolution-\(name)",
        constants: ["w": Array(weights.prefix(24)), "b": [1, -2, 3]],
        graphText(
          """
          %0 "x" = input : f32[N,2,4,3]
          %1 "w" = parameter : f32[2,3,2,2]
          %2 "b" = parameter : f32[3]
          """,
          """
          %3 = convolution_transpose(%0, %1, %2) {\(attributes)} : f32[N,3,\(size)] from "up"
          output "y" = %3
          """))
    }
  }

  /// Of a pixel, and of so few that what would be cut off is a large part.
  @Test func transposedConvolutionsOfSmallImages() throws {
    for (name, image, attributes, size) in [
      ("pixel", "1,1", "strides=[2, 1], pads=[0, 0, 0, 0], activation=\"relu\"", "4,4"),
      ("parts", "2,3", "strides=[2, 2], pads=[1, 1, 1, 1], activation=\"relu\"", "4,6"),
      ("uneven-parts", "2,3", "strides=[2, 2], pads=[0, 1, 2, 1]", "4,6"),
      ("longer", "2,2", "strides=[2, 2], pads=[1, 1, 1, 1], output_pads=[1, 1]", "5,5"),
    ] {
      try checkPass(
        LowerTransposedConvolution(), "lower-transposed-convolution-\(name)",
        constants: [
          "w": (0..<512).map { Double($0 % 13) - 6 }, "b": (0..<16).map { Double($0) - 7 },
        ],
        graphText(
          """
          %0 "x" = input : f32[N,2,\(image)]
          %1 "w" = parameter : f32[2,16,4,4]
          %2 "b" = parameter : f32[16]
          """,
          """
          %3 = convolution_transpose(%0, %1, %2) {\(attributes)} : f32[N,16,\(size)] from "up"
          output "y" = %3
          """))
    }
  }

  @Test func tapsThatMeetPadding() throws {
    for (name, pads, fires) in [("all", 5, true), ("none", 4, false)] {
      try checkPass(
        TrimKernels(), "trim-kernels-\(name)", fires: fires,
        constants: ["w": Array(weights.prefix(36))],
        graphText(
          """
          %0 "x" = input : f32[N,2,5,5]
          %1 "w" = parameter : f32[2,2,3,3]
          """,
          """
          %2 = convolution(%0, %1) {strides=[1, 1], pads=[\(pads), \(pads), \(pads), \(pads)], dilations=[\(pads), \(pads)]} : f32[N,2,5,5] from "rate"
          output "y" = %2
          """))
    }
  }
}
