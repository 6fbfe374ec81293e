// What files say is quantized, on bytes: what fires and what must not, and that nothing is rounded elsewhere.

import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftPasses

@Suite struct LowerToBytesTests {
  private static let head = """
    %0 "x" = input : f32[N,4,6,6]
    %1 "w" = parameter : i8[8,4,3,3]
    %2 "ws" = parameter : f32[8]
    %3 "b" = parameter : i32[8]
    %4 "bs" = parameter : f32[8]
    %5 "one" = parameter : f32[]
    %6 = quantize(%0) {scale=0.05, zero=120} : u8[N,4,6,6] from "q"
    %7 = dequantize(%6) {scale=0.05, zero=120} : f32[N,4,6,6] from "dq"
    """

  private static let constants: [String: [Double]] = [
    "w": (0..<288).map { Double(($0 * 37) % 255 - 127) },
    "ws": (0..<8).map { 0.001 * Double($0 + 1) }, "b": (0..<8).map { Double(200 * $0 - 600) },
    "bs": (0..<8).map { Double(Float(0.05) * Float(0.001 * Double($0 + 1))) }, "one": [0.01],
  ]

  /// Parses `body`, whose parameters are of any type.
  private func parsed(_ body: String, _ constants: [String: [Double]] = [:]) throws -> Graph {
    var graph = try Graph(parsing: graphText(Self.head, body))
    for id in graph.parameters {
      var value = graph[id]
      guard var parameter = value.parameter else { continue }
      let type = graph.type(of: id)
      let shape = try type.shape.extents(batch: 1)
      let name = value.name ?? ""
      let given = try #require(constants[name] ?? Self.constants[name], "\(name)")
      let count = shape.reduce(1, *)
      let elements = given.count == 1 ? Array(repeating: given[0], count: count) : given
      parameter.data = try TensorData(packing: elements, as: type.dtype, shape: shape)
      value.definition = .parameter(parameter)
      graph[id] = value
    }
    try graph.verify()
    return graph
  }

  /// Runs the pass; the outputs must be the same numbers, or differ by at most `steps` of a scale of the last value.
  private func lower(
    _ body: String, _ constants: [String: [Double]] = [:], within tolerance: Double = 0
  ) throws -> (graph: Graph, notes: [String]) {
    let before = try parsed(body, constants)
    var after = before
    let manager = PassManager([PipelineEntry(LowerToBytes(), because: "this test is about it")])
    let notes = try manager.run(&after).notes.map(\.description)
    #expect(try Graph(parsing: after.text) == after)
    var again = after
    _ = try manager.run(&again)
    #expect(again.text == after.text, "not idempotent")
    var numbers = SplitMix(seed: 5)
    let elements = (0..<(2 * 144)).map { _ in Float(numbers.number(in: -6.0...6)) }
    let x = HostTensor.float32(try DenseTensor(shape: [2, 4, 6, 6], elements: elements))
    var (first, second) = (ReferenceEvaluator(before), ReferenceEvaluator(after))
    let expected = try #require(try first.run(["x": x])["y"]?.doubles)
    let found = try #require(try second.run(["x": x])["y"]?.doubles)
    let worst = zip(expected, found).map { abs($0 - $1) }.max() ?? 0
    #expect(worst <= tolerance, "\(worst)")
    #expect(expected.contains { $0 != expected.first })
    return (after, notes)
  }

  private static let convolution = """
    %8 = dequantize_weights(%1, %2) : f32[8,4,3,3] from "dqw"
    %9 = dequantize_weights(%3, %4) : f32[8] from "dqb"
    %10 = convolution(%7, %8, %9) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,6,6] from "conv"
    """

  @Test func aConvolutionBetweenConversions() throws {
    let result = try lower(
      """
      \(Self.convolution)
      %11 = relu(%10) : f32[N,8,6,6] from "relu"
      %12 = quantize(%11) {scale=0.02, zero=3} : u8[N,8,6,6] from "q2"
      %13 = dequantize(%12) {scale=0.02, zero=3} : f32[N,8,6,6] from "dq2"
      output "y" = %13
      """)
    try expectGolden(result.graph.text, "lower-to-bytes.ir")
    #expect(result.notes == ["lower-to-bytes: put 1 layers on bytes, with 2 conversions"])
  }

  /// int8 between operators becomes uint8, movements and maxima take bytes, and all is rounded where the file says.
  @Test func islandsStayOnBytes() throws {
    let result = try lower(
      """
      \(Self.convolution)
      %11 = quantize(%10) {scale=0.02, zero=130, signed=true} : i8[N,8,6,6] from "q2"
      %12 = dequantize(%11) {scale=0.02, zero=130, signed=true} : f32[N,8,6,6] from "dq2"
      %13 = max_pool(%12) {kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1]} : f32[N,8,3,3] from "pool"
      %14 = quantize(%13) {scale=0.02, zero=130} : u8[N,8,3,3] from "q3"
      %15 = dequantize(%14) {scale=0.02, zero=130} : f32[N,8,3,3] from "dq3"
      %16 = sigmoid(%15) : f32[N,8,3,3] from "sigmoid"
      %17 = quantize(%16) {scale=0.004} : u8[N,8,3,3] from "q4"
      %18 = dequantize(%17) {scale=0.004} : f32[N,8,3,3] from "dq4"
      %19 = mul(%15, %18) : f32[N,8,3,3] from "mul"
      %20 = quantize(%19) {scale=0.02, zero=9} : u8[N,8,3,3] from "q5"
      %21 = dequantize(%20) {scale=0.02, zero=9} : f32[N,8,3,3] from "dq5"
      %22 = concat(%15, %21) {axis=1} : f32[N,16,3,3] from "concat"
      %23 = pad(%22) {pads=[0, 0, 0, 1, 0, 0, 1, 0]} : f32[N,16,4,4] from "pad"
      %24 = quantize(%23) {scale=0.025, zero=77} : u8[N,16,4,4] from "q6"
      %25 = dequantize(%24) {scale=0.025, zero=77} : f32[N,16,4,4] from "dq6"
      output "y" = %25
      """)
    try expectGolden(result.graph.text, "lower-to-bytes-islands.ir")
    #expect(!result.graph.text.contains("i8[N"))
  }

  /// What another operator, an output or two quantizations read is rounded nowhere but in the file's own places.
  @Test func otherReaders() throws {
    let result = try lower(
      """
      \(Self.convolution)
      %11 = quantize(%10) {scale=0.02, zero=130} : u8[N,8,6,6] from "q2"
      %12 = dequantize(%11) {scale=0.02, zero=130} : f32[N,8,6,6] from "dq2"
      %13 = quantize(%10) {scale=0.05, zero=130} : u8[N,8,6,6] from "q3"
      %14 = dequantize(%13) {scale=0.05, zero=130} : f32[N,8,6,6] from "dq3"
      %15 = softmax(%12) {axis=1} : f32[N,8,6,6] from "softmax"
      %16 = quantize(%15) {scale=0.004} : u8[N,8,6,6] from "q4"
      %17 = dequantize(%16) {scale=0.004} : f32[N,8,6,6] from "dq4"
      %18 = sub(%17, %14) : f32[N,8,6,6] from "sub"
      output "y" = %18
      """, within: 0.06)
    let convolutions = try result.graph.nodes.compactMap {
      try Catalog.operation(of: $0) as? QuantizedConvolution
    }
    #expect(convolutions.map(\.requantization.zero) == [nil])
    #expect(
      result.notes.first
        == "lower-to-bytes: left \"softmax\": softmax of these shapes has no form on bytes")
  }

  /// A normalization and a bias behind the sum, as NNCF leaves them.
  @Test func affineEndings() throws {
    let result = try lower(
      """
      %8 = dequantize_weights(%1, %5) : f32[8,4,3,3] from "dqw"
      %9 = convolution(%7, %8) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,6,6] from "conv"
      %10 = scale_shift(%9, %2, %4) : f32[N,8,6,6] from "bn"
      %11 = quantize(%10) {scale=0.0002, zero=130} : u8[N,8,6,6] from "q2"
      %12 = dequantize(%11) {scale=0.0002, zero=130} : f32[N,8,6,6] from "dq2"
      output "y" = %12
      """, within: 0.00021)
    #expect(result.graph.nodes.contains { $0.opcode == QuantizedConvolution.opcode })
    #expect(!result.graph.nodes.contains { $0.opcode == "scale_shift" })
  }

  /// Products of rows and a stored matrix.
  @Test func products() throws {
    let result = try lower(
      """
      %8 "m" = parameter : u8[6,5]
      %9 "mz" = parameter : u8[]
      %10 = dequantize_weights(%8, %5, %9) : f32[6,5] from "dqm"
      %11 = matmul(%7, %10) : f32[N,4,6,5] from "matmul"
      %12 = quantize(%11) {scale=0.02, zero=130} : u8[N,4,6,5] from "q2"
      %13 = dequantize(%12) {scale=0.02, zero=130} : f32[N,4,6,5] from "dq2"
      output "y" = %13
      """, ["m": (0..<30).map { Double(100 + $0) }, "mz": [114]])
    // The depth is no multiple of 4.
    #expect(result.notes.contains { $0.contains("left \"matmul\"") })
    let other = try lower(
      """
      %8 "m" = parameter : u8[36,5]
      %9 "mz" = parameter : u8[]
      %10 = dequantize_weights(%8, %5, %9) : f32[36,5] from "dqm"
      %11 = reshape(%7) {shape=shape [N,4,36]} : f32[N,4,36] from "flat"
      %12 = matmul(%11, %10) : f32[N,4,5] from "matmul"
      %13 = quantize(%12) {scale=0.02, zero=130} : u8[N,4,5] from "q2"
      %14 = dequantize(%13) {scale=0.02, zero=130} : f32[N,4,5] from "dq2"
      output "y" = %14
      """, ["m": (0..<180).map { Double(100 + $0 % 90) }, "mz": [114]])
    #expect(other.graph.nodes.contains { $0.opcode == QuantizedGemm.opcode })
    #expect(!other.graph.text.contains("matmul("))
  }

  /// Weights and scales that kernels cannot take stay as the file says, with the reason.
  @Test(arguments: [
    ("ws", [0.0], "a scale of its weights is not positive"),
    ("ws", [-0.5], "a scale of its weights is not positive"),
    ("ws", [Double.nan], "a scale of its weights is not positive"),
    ("ws", [1e-37], "its scales are too far apart"),
    ("bs", [1e30], "its bias is computed or out of range"),
    ("b", [2_147_483_000], "its sums are out of range"),
  ])
  func hostileConstants(name: String, elements: [Double], reason: String) throws {
    let graph = try parsed(
      """
      \(Self.convolution)
      %11 = quantize(%10) {scale=0.02, zero=3} : u8[N,8,6,6] from "q2"
      %12 = dequantize(%11) {scale=0.02, zero=3} : f32[N,8,6,6] from "dq2"
      output "y" = %12
      """, name == "b" ? [name: elements, "bs": Self.constants["bs"] ?? []] : [name: elements])
    var after = graph
    let notes = try PassManager([
      PipelineEntry(LowerToBytes(), because: "this test is about it")
    ]).run(&after).notes
    #expect(notes.contains { $0.description.contains("left \"conv\": \(reason)") }, "\(notes)")
    #expect(after.nodes.contains { $0.opcode == "convolution" })
  }

  /// Weights that need 9 bits less their zero point are those of two copies of x; scales along another axis stay.
  @Test func weightsOfNineBits() throws {
    let constants: [String: [Double]] = [
      "u": (0..<288).map { Double($0 % 256) }, "z": [3], "s": [0.1, 0.2, 0.3, 0.4],
    ]
    for (weights, isLowered) in [
      ("dequantize_weights(%8, %5, %9)", true), ("dequantize_weights(%8, %10) {axis=1}", false),
    ] {
      let result = try lower(
        """
        %8 "u" = parameter : u8[8,4,3,3]
        %9 "z" = parameter : u8[]
        %10 "s" = parameter : f32[4]
        %11 = \(weights) : f32[8,4,3,3] from "dqw"
        %12 = convolution(%7, %11) {strides=[1, 1], pads=[1, 1, 1, 1]} : f32[N,8,6,6] from "conv"
        output "y" = %12
        """, constants, within: 0.01)
      #expect(result.graph.text.contains("i8[8,8,3,3]") == isLowered)
      let reason = "the scales of its weights are not those of its outputs"
      #expect(
        isLowered || result.notes == ["lower-to-bytes: left \"conv\": \(reason)"], "\(result.notes)"
      )
    }
  }

  @Test func trainingDropsWhatIsQuantized() throws {
    let before = try parsed(
      """
      \(Self.convolution)
      %11 = quantize(%10) {scale=0.0001, zero=130} : u8[N,8,6,6] from "q2"
      %12 = dequantize(%11) {scale=0.0001, zero=130} : f32[N,8,6,6] from "dq2"
      output "y" = %10
      output "z" = %12
      """)
    var after = before
    _ = try PassManager(
      [PipelineEntry(DropQuantization(), because: "this test is about it")], mode: .training
    ).run(&after)
    let opcodes = after.nodes.map(\.opcode.rawValue)
    #expect(opcodes == ["convolution"])
    #expect(after.parameters.allSatisfy { after.type(of: $0).dtype == .float32 })
  }
}
