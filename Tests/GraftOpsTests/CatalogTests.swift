// The catalog itself: that names are unique, attributes survive, bindings do not overlap, and the
// documentation lists exactly what there is.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@Suite struct CatalogTests {
  @Test func opcodesAreUniqueAndSnakeCase() {
    let opcodes = Catalog.operators.map { $0.opcode.rawValue }
    #expect(Set(opcodes).count == opcodes.count)
    for opcode in opcodes {
      let isSnakeCase = opcode.allSatisfy { $0.isLowercase || $0 == "_" }
      #expect(isSnakeCase && !opcode.hasPrefix("_") && !opcode.hasSuffix("_"), "\(opcode)")
      #expect(Catalog.type(of: Opcode(rawValue: opcode))?.opcode.rawValue == opcode)
    }
    #expect(Catalog.type(of: "no_such_operator") == nil)
  }

  @Test func everyFacetIsThere() {
    for type in Catalog.operators {
      #expect(!type.summary.isEmpty && !type.summary.hasSuffix("."), "\(type.opcode)")
      #expect(!type.resultNames.isEmpty, "\(type.opcode)")
      let names = type.operands.map(\.name)
      #expect(Set(names).count == names.count, "\(type.opcode)")
      let variadic = type.operands.dropLast().contains { $0.presence == .variadic }
      #expect(!variadic, "\(type.opcode): only the last operand may be variadic")
      let firstOptional = type.operands.firstIndex { $0.presence == .optional }
      let lastRequired = type.operands.lastIndex { $0.presence == .required }
      if let firstOptional, let lastRequired { #expect(firstOptional > lastRequired) }
      for binding in type.onnx {
        #expect(ONNXBinding.supportedOpsets.contains(binding.opsets.lowerBound), "\(type.opcode)")
        #expect(ONNXBinding.supportedOpsets.contains(binding.opsets.upperBound), "\(type.opcode)")
      }
      if !type.onnx.isEmpty {
        let isExportable = type is any ONNXExportable.Type
        #expect(isExportable, "\(type.opcode)")
      }
    }
  }

  @Test func bindingsOfOneOperatorDoNotOverlapAndLeaveNoGap() {
    let names = Set(Catalog.operators.flatMap { $0.onnx.map(\.opType) })
    for name in names {
      let opsets = Catalog.bindings(onnx: name).map(\.opsets).sorted {
        $0.lowerBound < $1.lowerBound
      }
      for (earlier, later) in zip(opsets, opsets.dropFirst()) {
        #expect(earlier.upperBound + 1 == later.lowerBound, "\(name): \(earlier), \(later)")
      }
      #expect(opsets.last?.upperBound == ONNXBinding.supportedOpsets.upperBound, "\(name)")
    }
    #expect(Catalog.bindings(onnx: "Loop").isEmpty)
  }

  @Test func attributesSurviveBeingWrittenAndRead() throws {
    var seen = Set<Opcode>()
    for operation in try sampleOperators() {
      let type = Swift.type(of: operation)
      seen.insert(type.opcode)
      let again = try type.init(attributes: operation.attributes)
      #expect(again.attributes == operation.attributes, "\(type.opcode)")
    }
    let all = Set(Catalog.operators.map { $0.opcode })
    #expect(seen == all)
  }

  @Test func aMissingOrWrongAttributeIsNamed() throws {
    let samples = try sampleOperators()
    for type in Catalog.operators {
      guard let sample = samples.first(where: { Swift.type(of: $0) == type }) else {
        continue
      }
      for (name, value) in sample.attributes.values {
        var wrong = sample.attributes
        if case .strings = value { continue }
        wrong[name] = .strings(["x"])
        let error = #expect(throws: GraftError.self) { try type.init(attributes: wrong) }
        #expect(
          error?.message.contains("\"\(name)\"") == true, "\(type.opcode): \(error?.message ?? "")")
        #expect(error?.kind == .invalidGraph)
      }
    }
  }

  @Test func tooManyOrTooFewOperandsAreRefused() throws {
    let image = TensorType(.float32, [.batch, 3, 8, 8])
    let few = #expect(throws: GraftError.self) { try Catalog.inferTypes(Add(), [image]) }
    #expect(few?.message == "operand 1 (b) is missing")
    let many = #expect(throws: GraftError.self) {
      try Catalog.inferTypes(Relu(), [image, image])
    }
    #expect(many?.message == "2 operands, expected at most 1")
    let impossible = TensorType(.float32, [Dimension(-1), 3])
    let error = #expect(throws: GraftError.self) { try Catalog.inferTypes(Relu(), [impossible]) }
    #expect(error?.message == "operand 0 has an impossible shape: f32[-1,3]")
  }

  /// With `UPDATE_GOLDEN=1` the table is rewritten, and the test fails once more.
  @Test func documentationListsExactlyTheCatalog() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let url = root.appending(path: "docs/operators.md")
    let lines = try String(contentsOf: url, encoding: .utf8).split(
      separator: "\n", omittingEmptySubsequences: false)
    let rows = lines.filter { $0.hasPrefix("| `") }.map(String.init)
    let expected = Catalog.operators.map { type -> String in
      let names = Dictionary(grouping: type.onnx, by: \.opType).sorted { $0.key < $1.key }
      let columns = names.map { name, bindings in
        let first = bindings.map(\.opsets.lowerBound).min() ?? 0
        let last = bindings.map(\.opsets.upperBound).max() ?? 0
        return first...last == ONNXBinding.supportedOpsets ? name : "\(name) \(first)–\(last)"
      }
      return "| `\(type.opcode)` | \(type.summary) | "
        + (type is any DifferentiableOperator.Type ? "yes" : "—") + " | "
        + (columns.isEmpty ? "—" : columns.joined(separator: ", ")) + " |"
    }
    #expect(rows == expected, "docs/operators.md; run with UPDATE_GOLDEN=1 to rewrite its table")
    guard rows != expected, ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1",
      let first = lines.firstIndex(where: { $0.hasPrefix("| `") })
    else { return }
    let around = lines.filter { !$0.hasPrefix("| `") }.map(String.init)
    let text = (around[..<first] + expected + around[first...]).joined(separator: "\n")
    try text.write(to: url, atomically: true, encoding: .utf8)
  }

  /// With `UPDATE_GOLDEN=1` the list is rewritten, and the test fails once more.
  @Test func documentationListsExactlyTheFunctions() throws {
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "docs/operators.md")
    let text = try String(contentsOf: url, encoding: .utf8)
    let names = Dictionary(grouping: ONNXFunction.all) { function in
      function.domain.isEmpty ? function.opType : "\(function.domain).\(function.opType)"
    }.sorted { $0.key < $1.key }
    let list = names.map { name, functions in
      let first = functions.map(\.opsets.lowerBound).min() ?? 0
      let last = functions.map(\.opsets.upperBound).max() ?? 0
      return first...last == ONNXBinding.supportedOpsets ? name : "\(name) \(first)–\(last)"
    }
    let expected = list.joined(separator: ", ") + "."
    let lines = text.split(separator: "\n")
    #expect(
      lines.last.map(String.init) == expected,
      "docs/operators.md; run with UPDATE_GOLDEN=1 to rewrite its list")
    guard let last = lines.last, last != expected,
      ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1"
    else { return }
    try text.replacingOccurrences(of: String(last), with: expected)
      .write(to: url, atomically: true, encoding: .utf8)
  }
}

/// Every operator with attributes and operand types that it takes: what the fixtures hold, and those
/// that only passes make.
func sampleNodes() throws -> [(operation: any Operator, types: [TensorType?])] {
  let image = TensorType(.float32, [.batch, 4, 5, 6])
  let vector = TensorType(.float32, [4])
  let read = try OperatorFixture.all().map { fixture -> (any Operator, [TensorType?]) in
    let imported = try GraftTesting.read(fixture.node())
    return (
      imported.operation, imported.operands.map { $0.flatMap { fixture.inputs[$0]?.type } }
    )
  }
  return read + [
    (ScaleShift(activation: .clip(low: 0, high: 6)), [image, vector, vector]),
    (ConvertLayout(), [image]), (ChannelShuffle(groups: 2), [image]),
    (InterleavePhases(strides: [2, 1], offsets: [1, 0], extents: [8, 6], groups: 2), [image]),
    (
      PhaseWeights(strides: [2, 3], dilations: [1, 2], groups: 2),
      [TensorType(.float32, [4, 3, 3, 2])]
    ), (Silu(), [image]),
    (try RoundTo(attributes: ["dtype": .type(.bfloat16)]), [image]),
    (
      Convolution(
        strides: [2, 1], pads: [1, 0, 2, 3], dilations: [1, 2], groups: 4,
        activation: .leakyRelu(alpha: 0.125)), [image, TensorType(.float32, [8, 1, 2, 3]), nil]
    ),
    (
      Gemm(activation: .hardSigmoid(alpha: 0.25, beta: 0.5)),
      [TensorType(.float32, [.batch, 3]), TensorType(.float32, [3, 4]), vector]
    ),
    (Add(activation: .relu), [image, image]), (Multiply(activation: .silu), [image, image]),
    (BatchNormalization(momentum: 0.99), [image, vector, vector, vector, vector]),
    (Attention(scale: 0.5), attentionTypes),
    (
      Attention(
        scale: 0.5,
        views: AttentionViews(
          leading: [.batch, 2], queries: 5, keys: 5, size: 4, width: 4,
          views: (0..<3).map { AttentionView(offset: 8 * $0, strides: [120, 4, 24]) },
          order: [0, 2, 1, 3])), Array(repeating: TensorType(.float32, [.batch, 5, 24]), count: 3)
    ),
  ] + quantizedNodes() + trainingNodes()
}

/// The operators on bytes, which only quantization makes.
private func quantizedNodes() -> [(operation: any Operator, types: [TensorType?])] {
  let image = TensorType(.float32, [.batch, 4, 5, 6])
  let bytes = TensorType(.uint8, [.batch, 4, 5, 6])
  let step = Quantization(scale: 0.5, zero: 7)
  let full = Requantization(
    residualMultiplier: 0.25, residualZero: 3, activation: .relu, rate: 2, zero: 9)
  return [
    (Quantize(to: step), [image]), (Dequantize(from: step), [bytes]),
    (Quantize(to: step, isSigned: true), [image]),
    (Dequantize(from: step, isSigned: true), [TensorType(.int8, [.batch, 4, 5, 6])]),
    (
      DequantizeWeights(axis: 1),
      [TensorType(.int8, [8, 4, 2, 3]), TensorType(.float32, [4]), TensorType(.int8, [4])]
    ),
    (
      QuantizedConvolution(
        Convolution(strides: [2, 1], pads: [1, 0, 2, 3], dilations: [1, 2]), xZero: 7, full),
      [
        bytes, TensorType(.int8, [8, 4, 2, 3]), TensorType(.int32, [8]), TensorType(.float32, [8]),
        TensorType(.uint8, [.batch, 8, 4, 5]),
      ]
    ),
    (
      QuantizedGemm(xZero: 7, Requantization()),
      [
        TensorType(.uint8, [.batch, 4]), TensorType(.int8, [3, 4]), TensorType(.int32, [3]),
        TensorType(.float32, [3]),
      ]
    ),
    (Quantized(Add(activation: .relu), sources: [step, nil], result: step), [bytes, image]),
  ]
}

/// q, k, v and a bias of an attention.
private let attentionTypes: [TensorType?] = [
  TensorType(.float32, [.batch, 2, 5, 4]), TensorType(.float32, [.batch, 2, 3, 4]),
  TensorType(.float32, [.batch, 2, 3, 6]), TensorType(.float32, [2, 3, 5]),
]

/// The operators that only training makes.
private func trainingNodes() -> [(operation: any Operator, types: [TensorType?])] {
  let image = TensorType(.float32, [.batch, 4, 5, 6])
  let half = TensorType(.float32, [.batch, 4, 3, 3])
  let matrix = TensorType(.float32, [.batch, 3])
  let vector = TensorType(.float32, [4])
  let weights = TensorType(.float32, [8, 2, 3, 3])
  let table = TensorType(.float32, [2, 8])
  let settings = TensorType(.float32, [8])
  let window = Window(kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], dilations: [1, 1])
  let number = TensorType(.float32, [.batch, 1])
  let answers = [TensorType(.float32, [.batch, 2, 5, 6]), TensorType(.float32, [.batch, 2, 5])]
  return [
    (
      AttentionGradient(scale: 0.5),
      [answers[0]] + attentionTypes[..<3] + answers + attentionTypes[3...]
    ),
    (
      LayerNormalizationGradient(axis: 1),
      [matrix, matrix, TensorType(.float32, [3]), number, number]
    ), (LayerNormalizationParameterGradient(axis: 1), [matrix, matrix, number, number]),
    (CrossEntropy(), [matrix, matrix]), (CrossEntropyGradient(), [matrix, matrix]),
    (RegressionError(.charbonnier), [matrix, matrix, TensorType(.float32, [.batch])]),
    (RegressionErrorGradient(.absolute), [matrix, matrix, TensorType(.float32, [.batch])]),
    (ActivationGradient(activation: .clip(low: 0, high: 6)), [image, image]),
    (ConvolutionWeightGradient(window: window, groups: 2), [image, half]),
    (TransposeWeights(groups: 2), [weights]),
    (InsertZeros(strides: [2, 3], extents: [10, 16]), [image]),
    (BatchOuterProduct(), [matrix, TensorType(.float32, [.batch, 5])]),
    (BatchStatistics(), [image]),
    (BatchNormalizationParameterGradient(epsilon: 1e-5), [image, image, vector, vector]),
    (
      BatchNormalizationInputGradient(epsilon: 1e-5),
      [image, image, vector, vector, vector, vector, vector]
    ),
    (MaxPoolGradient(pool: MaxPool(window: window)), [half, image, half]),
    (
      AveragePoolGradient(
        pool: AveragePool(window: window, countIncludePad: true), extents: [5, 6]), [half]
    ),
    (ReduceSum(axes: [0, 2, 3]), [image]), (ReduceSum(axes: [1], keepsAxes: true), [matrix]),
    (
      GatherGradient(axis: 1, extent: 9),
      [TensorType(.float32, [4, .batch, 2, 3]), TensorType(.int64, [.batch, 2])]
    ),
    (RandomDropout(ratio: 0.25, stream: 3), [image, TensorType(.int32, [4])]),
    (
      RegionPoolGradient(
        pool: RegionPool(.average, bins: [3, 2], places: 2), images: 2, extents: [5, 6]),
      [TensorType(.float32, [3, 4, 3, 2]), TensorType(.float32, [3, 4]), TensorType(.int64, [3])]
    ), (SquareSum(), [weights]),
    (ClipFactor(), [settings, TensorType(.float32, [1]), TensorType(.float32, [1])]),
    (Accumulate(), [weights, weights, settings]),
    (SGDUpdate(group: 1, isNesterov: true), [weights, weights, table, weights, nil]),
    (
      AdamUpdate(group: 1, isDecoupled: true),
      [vector, vector, table, vector, vector, TensorType(.float32, [1])]
    ),
    (MovingAverage(momentum: 0.25), [vector, vector]),
  ]
}

func sampleOperators() throws -> [any Operator] { try sampleNodes().map(\.operation) }
