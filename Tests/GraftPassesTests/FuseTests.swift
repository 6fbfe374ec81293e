// Fusions: activations, residuals, padding, scales.

import Testing

@testable import GraftPasses

@Suite struct FuseActivationTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,3,5,5]
      %1 "w" = parameter : f32[3,3,1,1]
      %2 "c" = parameter : f32[3]
      %10 = convolution(%0, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,3,5,5] from "conv"
      """, body)
  }

  @Test(arguments: [
    ("relu", "relu(%10)"), ("clip", "clip(%10) {low=0.0, high=6.0}"),
    ("leaky", "leaky_relu(%10) {alpha=0.1}"), ("sigmoid", "sigmoid(%10)"),
    ("hard-swish", "hard_swish(%10)"), ("silu", "silu(%10)"), ("tanh", "tanh(%10)"),
    ("hard-sigmoid", "hard_sigmoid(%10) {alpha=0.25, beta=0.5}"),
  ])
  func fires(name: String, call: String) throws {
    try checkPass(
      FuseActivation(), "fuse-activation-\(name)",
      text("%11 \"act.out\" = \(call) : f32[N,3,5,5] from \"act\"\noutput \"y\" = %11"))
  }

  @Test func firesOnOtherProducers() throws {
    try checkPass(
      FuseActivation(), "fuse-activation-producers",
      text(
        """
        %11 = scale_shift(%10, %2, %2) : f32[N,3,5,5] from "bn"
        %12 = relu(%11) : f32[N,3,5,5] from "relu1"
        %13 = add(%12, %0) : f32[N,3,5,5] from "add"
        %14 = relu(%13) : f32[N,3,5,5] from "relu2"
        %15 = mul(%14, %0) : f32[N,3,5,5] from "mul"
        %16 = sigmoid(%15) : f32[N,3,5,5] from "sigmoid"
        output "y" = %16
        """))
  }

  @Test func leavesSecondReader() throws {
    try checkPass(
      FuseActivation(), "fuse-activation-second-reader", fires: false,
      text(
        """
        %11 = relu(%10) : f32[N,3,5,5] from "relu"
        %12 = mul(%11, %10) : f32[N,3,5,5] from "mul"
        output "y" = %12
        """))
  }

  @Test func leavesOutput() throws {
    try checkPass(
      FuseActivation(), "fuse-activation-output", fires: false,
      text("%11 = relu(%10) : f32[N,3,5,5] from \"relu\"\noutput \"y\" = %11\noutput \"z\" = %10"))
  }

  @Test func leavesASecondActivation() throws {
    try checkPass(
      FuseActivation(), "fuse-activation-twice",
      text(
        """
        %11 = tanh(%10) : f32[N,3,5,5] from "tanh"
        %12 = relu(%11) : f32[N,3,5,5] from "relu"
        output "y" = %12
        """))
  }

  @Test func leavesPools() throws {
    try checkPass(
      FuseActivation(), "fuse-activation-pool", fires: false,
      text(
        """
        %11 = max_pool(%10) {kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,3,2,2]
        %12 = relu(%11) : f32[N,3,2,2] from "relu"
        output "y" = %12
        """))
  }
}

@Suite struct FuseResidualTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,3,5,5]
      %1 "w" = parameter : f32[3,3,1,1]
      %2 "v" = parameter : f32[3,3,1,1]
      %3 "b" = parameter : f32[3]
      %10 = convolution(%0, %1, %3) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,3,5,5] from "conv"
      """, body)
  }

  @Test func fires() throws {
    try checkPass(
      FuseResidual(), "fuse-residual",
      text(
        "%11 = add(%10, %0) {activation=\"relu\"} : f32[N,3,5,5] from \"add\", \"relu\"\n"
          + "output \"y\" = %11"))
  }

  @Test func theLaterConvolutionTakesTheOther() throws {
    try checkPass(
      FuseResidual(), "fuse-residual-two-convolutions",
      text(
        """
        %11 = convolution(%0, %2) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,3,5,5] from "shortcut"
        %12 = add(%11, %10) : f32[N,3,5,5] from "add"
        output "y" = %12
        """))
  }

  @Test func leavesSecondReader() throws {
    try checkPass(
      FuseResidual(), "fuse-residual-second-reader", fires: false,
      text(
        """
        %11 = add(%10, %0) : f32[N,3,5,5] from "add"
        %12 = mul(%11, %10) : f32[N,3,5,5] from "mul"
        output "y" = %12
        """))
  }

  @Test func leavesOutput() throws {
    try checkPass(
      FuseResidual(), "fuse-residual-output", fires: false,
      text("%11 = add(%10, %0) : f32[N,3,5,5] from \"add\"\noutput \"y\" = %11\noutput \"z\" = %10")
    )
  }

  @Test func leavesBroadcasting() throws {
    try checkPass(
      FuseResidual(), "fuse-residual-broadcast", fires: false,
      text(
        """
        %11 = global_average_pool(%0) : f32[N,3,1,1] from "pool"
        %12 = add(%10, %11) : f32[N,3,5,5] from "add"
        output "y" = %12
        """))
  }

  @Test func firesOnNormalization() throws {
    try checkPass(
      FuseResidual(), "fuse-residual-normalization",
      graphText(
        """
        %0 "x" = input : f32[N,3,5,5]
        %1 "scale" = parameter : f32[3]
        %2 "bias" = parameter : f32[3]
        %3 "mean" = parameter : f32[3]
        %4 "variance" = parameter : f32[3]
        %10 = relu(%0) : f32[N,3,5,5] from "shortcut"
        %11 = batch_normalization(%0, %1, %2, %3, %4) {epsilon=0.001} : f32[N,3,5,5] from "bn"
        """,
        """
        %12 = add(%10, %11) {activation="relu"} : f32[N,3,5,5] from "add", "relu"
        output "y" = %12
        """))
  }

  @Test func leavesAnActivatedConvolution() throws {
    try checkPass(
      FuseResidual(), "fuse-residual-activated", fires: false,
      text(
        """
        %11 = convolution(%0, %2) {strides=[1, 1], pads=[0, 0, 0, 0], activation="relu"} : \
        f32[N,3,5,5] from "conv2"
        %12 = add(%11, %0) : f32[N,3,5,5] from "add"
        output "y" = %12
        """))
  }
}

@Suite struct FoldPaddingTests {
  private func text(_ body: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,3,5,5]
      %1 "w" = parameter : f32[2,3,3,3]
      """, body + "\noutput \"y\" = %12")
  }

  @Test func firesOnConvolution() throws {
    try checkPass(
      FoldPadding(), "fold-padding-convolution",
      text(
        """
        %11 = pad(%0) {pads=[0, 0, 1, 0, 0, 0, 2, 1]} : f32[N,3,8,6] from "pad"
        %12 = convolution(%11, %1) {strides=[1, 1], pads=[0, 1, 0, 1]} : f32[N,2,6,6] from "conv"
        """))
  }

  @Test func firesOnAveragePool() throws {
    try checkPass(
      FoldPadding(), "fold-padding-average-pool",
      text(
        """
        %11 = pad(%0) {pads=[0, 0, 1, 1, 0, 0, 1, 1]} : f32[N,3,7,7] from "pad"
        %12 = average_pool(%11) {kernel=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,3,3,3]
        """))
  }

  @Test func firesOnMaxPoolOfPositives() throws {
    try checkPass(
      FoldPadding(), "fold-padding-max-pool",
      text(
        """
        %10 = relu(%0) : f32[N,3,5,5] from "relu"
        %11 = pad(%10) {pads=[0, 0, 1, 1, 0, 0, 1, 1]} : f32[N,3,7,7] from "pad"
        %12 = max_pool(%11) {kernel=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,3,3,3]
        """))
  }

  @Test func leavesZerosRoundAMaximumOfAnything() throws {
    try checkPass(
      FoldPadding(), "fold-padding-max-pool-of-anything", fires: false,
      text(
        """
        %11 = pad(%0) {pads=[0, 0, 1, 1, 0, 0, 1, 1]} : f32[N,3,7,7] from "pad"
        %12 = max_pool(%11) {kernel=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,3,3,3]
        """))
  }

  @Test func leavesOtherValuesModesAndAxes() throws {
    try checkPass(
      FoldPadding(), "fold-padding-value", fires: false,
      text(
        """
        %11 = pad(%0) {pads=[0, 0, 1, 1, 0, 0, 1, 1], value=1.0} : f32[N,3,7,7] from "pad"
        %12 = convolution(%11, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,2,5,5] from "conv"
        """))
    try checkPass(
      FoldPadding(), "fold-padding-reflect", fires: false,
      text(
        """
        %11 = pad(%0) {pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"} : f32[N,3,7,7] from "pad"
        %12 = convolution(%11, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,2,5,5] from "conv"
        """))
    try checkPass(
      FoldPadding(), "fold-padding-channels", fires: false,
      """
      graph "g" {
        %0 "x" = input : f32[N,2,5,5]
        %1 "w" = parameter : f32[2,3,3,3]
        %11 = pad(%0) {pads=[0, 0, 0, 0, 0, 1, 0, 0]} : f32[N,3,5,5] from "pad"
        %12 = convolution(%11, %1) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,2,3,3] from "conv"
        output "y" = %12
      }
      """)
  }
}

@Suite struct ScaleShiftTests {
  private func text(pads: String, _ extent: Int, _ body: String) -> String {
    """
    graph "g" {
      %0 "x" = input : f32[N,4,5,5]
      %1 "w" = parameter : f32[3,4,3,3]
      %2 "gamma" = parameter : f32[4]
      %3 "beta" = parameter : f32[4]
      %4 "mean" = parameter : f32[4]
      %5 "variance" = parameter : f32[4]
      %10 = max_pool(%0) {kernel=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,4,5,5]
      \(body)
      %20 = convolution(%19, %1) {strides=[1, 1], pads=[\(pads)]} : f32[N,3,\(extent),\(extent)] from "conv"
      output "y" = %20
    }
    """
  }
  private let normalization =
    "%19 = batch_normalization(%10, %2, %3, %4, %5) {epsilon=1e-05} : f32[N,4,5,5] from \"bn\""

  @Test func foldsIntoTheNextConvolution() throws {
    try checkPass(
      FoldIntoNextConvolution(), "fold-into-next-convolution",
      text(pads: "0, 0, 0, 0", 3, normalization))
  }

  @Test func foldsAScaleIntoAPaddingConvolution() throws {
    try checkPass(
      FoldIntoNextConvolution(), "fold-into-next-convolution-scale",
      constants: ["gamma": [0.5]],
      """
      graph "g" {
        %0 "x" = input : f32[N,4,5,5]
        %1 "w" = parameter : f32[2,2,3,3]
        %2 "gamma" = parameter : f32[]
        %10 = div(%0, %2) : f32[N,4,5,5] from "div"
        %11 = convolution(%10, %1) {strides=[1, 1], pads=[1, 1, 1, 1], groups=2} : f32[N,2,5,5]
        output "y" = %11
      }
      """)
  }

  @Test func foldsIntoTheNextGemm() throws {
    try checkPass(
      FoldIntoNextConvolution(), "fold-into-next-convolution-gemm",
      """
      graph "g" {
        %0 "x" = input : f32[N,4]
        %1 "w" = parameter : f32[4,3]
        %2 "gamma" = parameter : f32[4]
        %3 "beta" = parameter : f32[3]
        %10 = scale_shift(%0, %2, %2) : f32[N,4] from "bn"
        %11 = gemm(%10, %1, %3) {activation="relu"} : f32[N,3] from "fc"
        output "y" = %11
      }
      """)
  }

  @Test func leavesAShiftBeforePadding() throws {
    try checkPass(
      FoldIntoNextConvolution(), "fold-into-next-convolution-padding", fires: false,
      text(pads: "1, 1, 1, 1", 5, normalization))
  }

  @Test func leavesSecondReaderAndTraining() throws {
    try checkPass(
      FoldIntoNextConvolution(), "fold-into-next-convolution-second-reader", fires: false,
      text(pads: "0, 0, 0, 0", 3, normalization + "\noutput \"z\" = %19"))
    try checkPass(
      FoldIntoNextConvolution(), "fold-into-next-convolution-training", fires: false,
      mode: .training, text(pads: "0, 0, 0, 0", 3, normalization))
  }

  @Test func lowersWhatIsLeft() throws {
    try checkPass(
      LowerToScaleShift(), "lower-to-scale-shift", text(pads: "1, 1, 1, 1", 5, normalization))
  }

  @Test func mergesArithmetic() throws {
    try checkPass(
      LowerToScaleShift(), "lower-to-scale-shift-merge",
      """
      graph "g" {
        %0 "x" = input : f32[N,4,5,5]
        %1 "a" = parameter : f32[4,1,1]
        %2 "b" = parameter : f32[1]
        %10 = mul(%0, %1) : f32[N,4,5,5] from "mul"
        %11 = sub(%10, %2) : f32[N,4,5,5] from "sub"
        %12 = add(%1, %11) {activation="relu"} : f32[N,4,5,5] from "add"
        %13 = div(%12, %1) : f32[N,4,5,5] from "div"
        output "y" = %13
      }
      """)
  }

  @Test func leavesWhatIsNotOneNumberAChannel() throws {
    try checkPass(
      LowerToScaleShift(), "lower-to-scale-shift-wrong-shape", fires: false,
      """
      graph "g" {
        %0 "x" = input : f32[N,4,5,5]
        %1 "a" = parameter : f32[5,1]
        %2 "b" = parameter : f32[3,1,1,1,1]
        %10 = mul(%0, %1) : f32[N,4,5,5] from "rows"
        %11 = div(%1, %10) : f32[N,4,5,5] from "reciprocal"
        output "y" = %11
      }
      """)
  }

  @Test func leavesTrainedParametersInTraining() throws {
    try checkPass(
      LowerToScaleShift(), "lower-to-scale-shift-training", fires: false, mode: .training,
      text(pads: "1, 1, 1, 1", 5, normalization))
  }
}
