// Layout: what is blocked, with which border, and where conversions stand.

import GraftCodegen
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftPasses

@Suite struct AssignLayoutTests {
  private let network = """
    graph "g" {
      %0 "x" = input : f32[N,3,12,12]
      %1 "w1" = parameter : f32[16,3,3,3]
      %2 "w2" = parameter : f32[16,16,3,3]
      %3 "w3" = parameter : f32[16,1,3,3]
      %4 "w4" = parameter : f32[10,16]
      %5 "w5" = parameter : f32[16,16,1,1]
      %10 = convolution(%0, %1) {strides=[2, 2], pads=[1, 1, 1, 1], activation="relu"} : f32[N,16,6,6] from "stem"
      %11 = convolution(%10, %2, _, %10) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,16,6,6] from "block"
      %12 = convolution(%11, %3) {strides=[1, 1], pads=[1, 1, 1, 1], groups=16} : f32[N,16,6,6] from "depthwise"
      %13 = global_average_pool(%12) : f32[N,16,1,1] from "squeeze"
      %14 = convolution(%13, %5) {strides=[1, 1], pads=[0, 0, 0, 0], activation="sigmoid"} : f32[N,16,1,1] from "excite"
      %15 = mul(%12, %14) : f32[N,16,6,6] from "scale"
      %16 = max_pool(%15) {kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0]} : f32[N,16,3,3] from "pool"
      %17 = global_average_pool(%16) : f32[N,16,1,1] from "mean"
      %18 = reshape(%17) {shape=shape [N,16]} : f32[N,16] from "flat"
      %19 = gemm(%18, %4) {transposes_b=true} : f32[N,10] from "fc"
      output "y" = %19
    }
    """

  @Test func aNetworkIsOneRegion() throws {
    try checkPass(AssignLayout(), "assign-layout", network)
    try checkPass(AssignLayout(), "assign-layout-16", target: .x8664v4, network)
  }

  @Test func oneLaneMeansPlain() throws {
    try checkPass(AssignLayout(), "assign-layout-1", fires: false, target: nil, network)
  }

  @Test func elementwiseAloneIsNotWorthAConversion() throws {
    try checkPass(
      AssignLayout(), "assign-layout-elementwise", fires: false,
      """
      graph "g" {
        %0 "x" = input : f32[N,16,8,8]
        %1 = relu(%0) : f32[N,16,8,8] from "relu"
        %2 = add(%1, %0) : f32[N,16,8,8] from "add"
        output "y" = %2
      }
      """)
  }

  private func convolution(_ channels: Int, _ attributes: String, weights: String) -> String {
    graphText(
      """
      %0 "x" = input : f32[N,\(channels),8,8]
      %1 "w" = parameter : f32[\(weights)]
      """,
      """
      %2 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]\(attributes)} : f32[N,\(channels),8,8] from "conv"
      output "y" = %2
      """)
  }

  @Test func groupsThatDoNotFillBlocksAreBlockedToo() throws {
    try checkPass(
      AssignLayout(), "assign-layout-groups", convolution(12, ", groups=3", weights: "12,4,3,3"))
  }

  /// In a block, seven of eight lanes would be padding.
  @Test func oneChannelStaysPlain() throws {
    try checkPass(
      AssignLayout(), "assign-layout-one-channel", fires: false,
      convolution(1, "", weights: "1,1,3,3"))
  }

  @Test func outputsAndPlainReadersShareAConversion() throws {
    try checkPass(
      AssignLayout(), "assign-layout-outputs",
      """
      graph "g" {
        %0 "x" = input : f32[N,8,8,8]
        %1 "w" = parameter : f32[8,8,3,3]
        %2 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv1"
        %3 = convolution(%2, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv2"
        %4 = transpose(%2) {permutation=[0, 2, 3, 1]} : f32[N,8,8,8] from "transpose"
        %5 = reshape(%2) {shape=shape [N,512]} : f32[N,512] from "reshape"
        output "features" = %2
        output "y" = %3
        output "t" = %4
        output "r" = %5
      }
      """)
  }

  @Test func oddChannelsAndJoins() throws {
    try checkPass(
      AssignLayout(), "assign-layout-joins",
      """
      graph "g" {
        %0 "x" = input : f32[N,8,8,8]
        %1 "w" = parameter : f32[10,8,3,3]
        %2 "v" = parameter : f32[20,20,1,1]
        %3 "s" = parameter : f32[20]
        %10 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,10,8,8] from "conv1"
        %11 = concat(%10, %10) {axis=1} : f32[N,20,8,8] from "concat"
        %12 = scale_shift(%11, %3, %3) {activation="relu"} : f32[N,20,8,8] from "bn"
        %13 = channel_shuffle(%12) {groups=2} : f32[N,20,8,8] from "shuffle"
        %14, %15 = split(%13) {axis=1, sizes=[6, 14]} : f32[N,6,8,8], f32[N,14,8,8] from "split"
        %16 = slice(%13) {axes=[1], starts=[3], extents=[14]} : f32[N,14,8,8] from "slice"
        %17 = add(%15, %16) : f32[N,14,8,8] from "add"
        %18 = concat(%14, %17) {axis=1} : f32[N,20,8,8] from "concat2"
        %19 = convolution(%18, %2) {strides=[1, 1], pads=[0, 0, 0, 0]} : f32[N,20,8,8] from "conv2"
        output "y" = %19
      }
      """)
  }

  @Test func aValueThatMayBeOverwrittenHasTheBorderOfTheResult() throws {
    let before = try graph(
      """
      graph "g" {
        %0 "x" = input : f32[N,8,8,8]
        %1 "w" = parameter : f32[8,8,3,3]
        %2 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv1"
        %3 = elu(%2) {alpha=1.0} : f32[N,8,8,8] from "elu"
        %4 = convolution(%3, %1) {strides=[1, 1], pads=[2, 1, 0, 1]} : f32[N,8,8,8] from "conv2"
        output "y" = %4
      }
      """)
    var after = before
    _ = try PassManager(Pipeline.layout, costs: KernelCostModel(target: .x8664v3)).run(&after)
    let border = Layout.blocked(8, border: (2, 1))
    for opcode in ["convolution", "elu"] {
      let node = try #require(after.nodes.first { $0.opcode.rawValue == opcode })
      #expect(after.type(of: node.results[0]).layout == border)
    }
  }

  @Test func aConstantImageStaysPlain() throws {
    try checkPass(
      AssignLayout(), "assign-layout-constant",
      """
      graph "g" {
        %0 "x" = input : f32[N,8,8,8]
        %1 "w" = parameter : f32[8,8,3,3]
        %2 "mask" = parameter : f32[1,8,8,8]
        %3 = convolution(%0, %1) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,8,8] from "conv"
        %4 = mul(%3, %2) : f32[N,8,8,8] from "mask"
        output "y" = %4
      }
      """)
  }
}

@Suite struct MinimumCutTests {
  /// Every split of a random network is tried; none is cheaper than the one that was found.
  @Test(arguments: 0..<20) func isTheCheapestSplit(seed: UInt64) {
    var numbers = SplitMix(seed: seed)
    let count = 6
    var network = MinimumCut(vertices: count)
    var edges: [(Int, Int, Int)] = []
    for tail in 0..<(count + 2) {
      for head in 0..<(count + 2) where tail != head && numbers.number(in: -1.0...1) > 0.2 {
        let edge = (tail, head, Int(abs(numbers.number(in: -1.0...1)) * 20) + 1)
        edges.append(edge)
        network.addEdge(edge.0, edge.1, edge.2)
      }
    }
    func cost(_ side: Set<Int>) -> Int {
      edges.filter { side.contains($0.0) && !side.contains($0.1) }.map(\.2).reduce(0, +)
    }
    let found = network.sourceSide()
    #expect(found.contains(network.source) && !found.contains(network.sink))
    let cheapest = (0..<(1 << count)).map { bits in
      cost(Set((0..<count).filter { bits & (1 << $0) != 0 } + [network.source]))
    }.min()
    #expect(cost(found) == cheapest)
  }
}
