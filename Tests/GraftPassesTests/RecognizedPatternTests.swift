// Operators that exporters spell out with others, and products, paddings and joins of channels in another form.

import Testing

@testable import GraftPasses

@Suite struct RecognizeActivationsTests {
  private func check(
    _ name: String, fires: Bool = true, three: Double = 3, _ body: String
  ) throws {
    try checkPass(
      RecognizeActivations(), "recognize-activations-\(name)", fires: fires,
      constants: [
        "three": [three], "six": [6], "sixth": [1.0 / 6], "root": [Double(2).squareRoot()],
        "one": [1],
        "half": [0.5],
      ],
      graphText(
        """
        %0 "x" = input : f32[N,3,5,5]
        %1 "three" = parameter : f32[]
        %2 "six" = parameter : f32[1,1,1,1]
        %3 "sixth" = parameter : f32[]
        """, body))
  }
  private let ramp = """
    %10 = add(%0, %1) : f32[N,3,5,5] from "add"
    %11 = clip(%10) {low=0.0, high=6.0} : f32[N,3,5,5] from "clip"

    """

  @Test func silu() throws {
    try check(
      "silu",
      """
      %10 = sigmoid(%0) : f32[N,3,5,5] from "sigmoid"
      %11 "act" = mul(%0, %10) : f32[N,3,5,5] from "mul"
      output "y" = %11
      """)
  }

  /// As PyTorch's older exporter writes it, and as the newer one does; x + 1 is no part of one.
  @Test func gelu() throws {
    let distribution = """
      %10 "root" = parameter : f32[]
      %11 "one" = parameter : f32[]
      %12 "half" = parameter : f32[]
      %13 = div(%0, %10) : f32[N,3,5,5] from "div"
      %14 = erf(%13) : f32[N,3,5,5] from "erf"
      %15 = add(%14, %11) : f32[N,3,5,5] from "add"

      """
    try check(
      "gelu-half-last",
      distribution + """
        %16 = mul(%0, %15) : f32[N,3,5,5] from "mul"
        %17 "act" = mul(%16, %12) : f32[N,3,5,5] from "halve"
        output "y" = %17
        """)
    try check(
      "gelu-half-first",
      distribution + """
        %16 = mul(%0, %12) : f32[N,3,5,5] from "halve"
        %17 "act" = mul(%16, %15) : f32[N,3,5,5] from "mul"
        output "y" = %17
        """)
    try check(
      "gelu-of-another", fires: false,
      distribution + """
        %16 = mul(%15, %15) : f32[N,3,5,5] from "mul"
        %17 "act" = mul(%16, %12) : f32[N,3,5,5] from "halve"
        output "y" = %17
        """)
  }

  @Test func hardSwishDividedLast() throws {
    try check(
      "hard-swish-last",
      ramp
        + """
        %12 = mul(%0, %11) : f32[N,3,5,5] from "mul"
        %13 = div(%12, %2) : f32[N,3,5,5] from "div"
        output "y" = %13
        """)
  }

  @Test func hardSwishDividedFirst() throws {
    try check(
      "hard-swish-first",
      ramp
        + """
        %12 = mul(%3, %11) : f32[N,3,5,5] from "sixth"
        %13 = mul(%12, %0) : f32[N,3,5,5] from "mul"
        output "y" = %13
        """)
  }

  @Test func hardSwishOfHardSigmoid() throws {
    try check(
      "hard-swish-named",
      """
      %10 = hard_sigmoid(%0) {alpha=0.1666666716337204, beta=0.5} : f32[N,3,5,5] from "gate"
      %11 = mul(%0, %10) : f32[N,3,5,5] from "mul"
      output "y" = %11
      """)
  }

  @Test func hardSigmoid() throws {
    try check(
      "hard-sigmoid",
      ramp + "%12 = div(%11, %2) : f32[N,3,5,5] from \"div\"\noutput \"y\" = %12")
  }

  @Test func leavesSecondReader() throws {
    try check(
      "second-reader", fires: false,
      """
      %10 = sigmoid(%0) : f32[N,3,5,5] from "sigmoid"
      %11 = mul(%0, %10) : f32[N,3,5,5] from "mul"
      output "y" = %11
      output "z" = %10
      """)
  }

  @Test func leavesOtherNumbersAndOtherValues() throws {
    try check(
      "other-shift", fires: false, three: 2,
      ramp + "%12 = div(%11, %2) : f32[N,3,5,5] from \"div\"\noutput \"y\" = %12")
    try check(
      "other-value", fires: false,
      """
      %10 = tanh(%0) : f32[N,3,5,5] from "tanh"
      %11 = sigmoid(%0) : f32[N,3,5,5] from "sigmoid"
      %12 = mul(%10, %11) : f32[N,3,5,5] from "mul"
      output "y" = %12
      """)
  }
}

@Suite struct LowerMatrixMultiplyTests {
  @Test func fires() throws {
    try checkPass(
      LowerMatrixMultiply(), "lower-matrix-multiply",
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %1 "w" = parameter : f32[4,3]
        %2 "fc.out" = matmul(%0, %1) : f32[N,3] from "fc"
        output "y" = %2
      }
      """)
  }

  @Test func firesForRowsOfAnyRank() throws {
    try checkPass(
      LowerMatrixMultiply(), "lower-matrix-multiply-rank",
      """
      graph "g" {
        %0 "x" = input : f32[N,2,4]
        %1 "w" = parameter : f32[4,3]
        %2 "fc.out" = matmul(%0, %1) : f32[N,2,3] from "fc"
        output "y" = %2
      }
      """)
  }

  @Test func takesTheTransposeOfATrainedMatrix() throws {
    try checkPass(
      LowerMatrixMultiply(), "lower-matrix-multiply-transposed", mode: .training,
      """
      graph "g" {
        %0 "x" = input : f32[N,2,4]
        %1 "w" = parameter {trained=true} : f32[3,4]
        %2 = transpose(%1) {permutation=[1, 0]} : f32[4,3] from "t"
        %3 "fc.out" = matmul(%0, %2) : f32[N,2,3] from "fc"
        output "y" = %3
      }
      """)
  }

  @Test func leavesProductsOfBatches() throws {
    try checkPass(
      LowerMatrixMultiply(), "lower-matrix-multiply-batch", fires: false,
      """
      graph "g" {
        %0 "x" = input : f32[N,2,4]
        %1 "w" = parameter : f32[1,4,3]
        %2 = matmul(%0, %1) : f32[N,2,3] from "fc"
        output "y" = %2
      }
      """)
  }
}

@Suite struct SinkReshapesTests {
  private func text(_ body: String) -> String {
    """
    graph "g" {
      %0 "x" = input : f32[N,8]
      %1 "r" = input : f32[N,2,3]
      %2 "w" = parameter : f32[4,3]
      %3 "b" = parameter : f32[1,1,3]
      %4 = reshape(%0) {shape=shape [2N,4]} : f32[2N,4] from "rows"
      %5 = gemm(%4, %2) : f32[2N,3] from "fc"
      %6 = reshape(%5) {shape=shape [N,2,3]} : f32[N,2,3] from "fc"

    """ + body + "\n}"
  }

  @Test func fires() throws {
    try checkPass(
      SinkReshapes(), "sink-reshapes",
      text(
        """
          %7 = add(%3, %6) : f32[N,2,3] from "bias"
          %8 = gelu(%7) {uses_tanh=false} : f32[N,2,3] from "act"
          %9 "sum" = add(%1, %8) : f32[N,2,3] from "skip"
          output "y" = %9
        """))
  }

  @Test func leavesOtherReadersAndBroadcasts() throws {
    try checkPass(
      SinkReshapes(), "sink-reshapes-second-reader", fires: false,
      text(
        """
          %7 = relu(%6) : f32[N,2,3] from "act"
          %8 = add(%7, %6) : f32[N,2,3] from "skip"
          output "y" = %8
        """))
    try checkPass(
      SinkReshapes(), "sink-reshapes-broadcast", fires: false,
      text(
        """
          %7 = reshape(%0) {shape=shape [N,8,1]} : f32[N,8,1] from "column"
          %8 = slice(%7) {axes=[1], starts=[0], extents=[2], steps=[1]} : f32[N,2,1] from "part"
          %9 = add(%6, %8) : f32[N,2,3] from "column.add"
          output "y" = %9
        """))
  }
}

@Suite struct LowerChannelPaddingTests {
  private func text(_ body: String) -> String { graphText("%0 \"x\" = input : f32[N,4,7,8]", body) }
  private let slices = """
    %1 = slice(%0) {axes=[2], starts=[0], extents=[4], steps=[2]} : f32[N,4,4,8] from "rows"
    %2 = slice(%1) {axes=[3], starts=[0], extents=[4], steps=[2]} : f32[N,4,4,4] from "columns"

    """

  @Test func fires() throws {
    try checkPass(
      LowerChannelPadding(), "lower-channel-padding",
      text(
        slices
          + """
          %3 "shortcut" = pad(%2) {pads=[0, 2, 0, 0, 0, 3, 0, 0]} : f32[N,9,4,4] from "pad"
          output "y" = %3
          """))
  }

  @Test func firesWithoutSlices() throws {
    try checkPass(
      LowerChannelPadding(), "lower-channel-padding-alone",
      text("%3 = pad(%0) {pads=[0, 0, 0, 0, 0, 4, 0, 0]} : f32[N,8,7,8]\noutput \"y\" = %3"))
  }

  @Test func keepsSlicesThatOthersReadOrThatStartElsewhere() throws {
    try checkPass(
      LowerChannelPadding(), "lower-channel-padding-second-reader",
      text(
        slices
          + """
          %3 = pad(%2) {pads=[0, 2, 0, 0, 0, 2, 0, 0]} : f32[N,8,4,4] from "pad"
          output "y" = %3
          output "z" = %2
          """))
    try checkPass(
      LowerChannelPadding(), "lower-channel-padding-start",
      text(
        """
        %1 = slice(%0) {axes=[2], starts=[1], extents=[3], steps=[2]} : f32[N,4,3,8] from "rows"
        %3 = pad(%1) {pads=[0, 2, 0, 0, 0, 2, 0, 0]} : f32[N,8,3,8] from "pad"
        output "y" = %3
        """))
  }

  @Test func leavesOtherPads() throws {
    try checkPass(
      LowerChannelPadding(), "lower-channel-padding-wrong-shape", fires: false,
      text(
        """
        %1 = pad(%0) {pads=[0, 1, 1, 0, 0, 0, 0, 0]} : f32[N,5,8,8] from "rows"
        %2 = pad(%1) {pads=[0, 1, 0, 0, 0, 0, 0, 0], value=2.0} : f32[N,6,8,8] from "twos"
        output "y" = %2
        """))
  }
}

@Suite struct JoinChannelsTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,3,4,4]
      %1 "red.scale" = parameter : f32[1]
      %2 "red.shift" = parameter : f32[]
      """, body)
  }
  private let parts = """
    %10 = slice(%0) {axes=[1], starts=[0], extents=[1]} : f32[N,1,4,4] from "red"
    %9 = mul(%10, %2) : f32[N,1,4,4] from "multiplied"
    %11 = scale_shift(%9, %1, %1) : f32[N,1,4,4] from "scaled"
    %12 = slice(%0) {axes=[1], starts=[1], extents=[2]} : f32[N,2,4,4] from "others"
    %13 = add(%12, %2) : f32[N,2,4,4] from "shifted"

    """

  @Test func fires() throws {
    try checkPass(
      JoinChannels(), "join-channels",
      text(
        parts
          + "%14 \"joined\" = concat(%11, %13) {axis=1} : f32[N,3,4,4] from \"join\"\n"
          + "output \"y\" = %14"))
  }

  @Test func leavesAnotherOrder() throws {
    try checkPass(
      JoinChannels(), "join-channels-order", fires: false,
      text(
        parts + "%14 = concat(%13, %11) {axis=1} : f32[N,3,4,4] from \"join\"\noutput \"y\" = %14"))
  }

  @Test func leavesSecondReadersAndParts() throws {
    try checkPass(
      JoinChannels(), "join-channels-second-reader", fires: false,
      text(
        parts
          + "%14 = concat(%11, %13) {axis=1} : f32[N,3,4,4] from \"join\"\noutput \"y\" = %14\n"
          + "output \"z\" = %13"))
    try checkPass(
      JoinChannels(), "join-channels-wrong-shape", fires: false,
      text(
        parts + "%14 = concat(%11, %11) {axis=1} : f32[N,2,4,4] from \"join\"\noutput \"y\" = %14"))
  }

  @Test func leavesTraining() throws {
    try checkPass(
      JoinChannels(), "join-channels-training", fires: false, mode: .training,
      text(
        parts + "%14 = concat(%11, %13) {axis=1} : f32[N,3,4,4] from \"join\"\noutput \"y\" = %14"))
  }
}
