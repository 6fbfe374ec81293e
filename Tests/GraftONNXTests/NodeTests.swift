// ONNX's own tests of single operators (Debian's libonnx-testdata), with their inputs and the outputs that
// ONNX's authors expect. Every test whose operators Graft has must pass, or be listed below with the reason
// why Graft refuses it. Golden/onnx-node-tests.txt lists those that pass.

import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftONNX

@Suite struct NodeTests {
  @Test func onnxNodeTestsPassOrAreRefusedForAKnownReason() throws {
    let folder = URL(filePath: "/usr/share/libonnx-testdata/data/node")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    var passed: [String] = []
    var refused: [String: String] = [:]
    for name in names {
      guard let test = try NodeTest(at: folder.appending(path: name)) else { continue }
      do {
        try test.run()
        passed.append(name)
      } catch let error as GraftError where error.kind == .unsupported {
        refused[name] = error.message
      } catch {
        Issue.record("\(name): \(error)")
      }
    }
    try expectGolden(passed.joined(separator: "\n") + "\n", "onnx-node-tests.txt")
    let expected = Self.refusals.flatMap { reason, names in names.map { ($0, reason) } }
    for (name, reason) in expected {
      #expect(refused["test_\(name)"]?.contains(reason) == true, "\(name)")
      refused["test_\(name)"] = nil
    }
    #expect(
      refused.isEmpty,
      "\(refused.map { "\($0.key): \($0.value)" }.sorted().joined(separator: "\n"))")
  }

  /// What Graft refuses of the operators that it has, by a part of its message.
  static let refusals: [String: [String]] = [
    "training mode": [
      "batchnorm_epsilon_training_mode", "batchnorm_example_training_mode",
      "training_dropout_default", "training_dropout", "training_dropout_zero_ratio",
    ],
    "the mask of a dropout": [
      "training_dropout_default_mask", "training_dropout_mask", "training_dropout_zero_ratio_mask",
    ],
    // Texts, sequences and optionals.
    "STRING": [
      "cast_STRING_to_FLOAT", "castlike_FLOAT_to_STRING", "castlike_FLOAT_to_STRING_expanded",
      "castlike_STRING_to_FLOAT", "castlike_STRING_to_FLOAT_expanded",
    ],
    "a cast to STRING": ["cast_FLOAT_to_STRING"],
    "is no tensor": ["identity_opt", "identity_sequence"],
    "SequenceConstruct": ["if_opt", "if_seq"],
    "input \"limit\" must be constant": [
      "blackmanwindow_expanded", "blackmanwindow_symmetric_expanded", "hammingwindow_expanded",
      "hammingwindow_symmetric_expanded", "hannwindow_expanded", "hannwindow_symmetric_expanded",
    ],
    "input \"size\" must be constant": [
      "blackmanwindow", "blackmanwindow_symmetric", "hammingwindow", "hammingwindow_symmetric",
      "hannwindow", "hannwindow_symmetric",
    ],
    "input \"K\" must be constant": ["top_k", "top_k_negative_axis", "top_k_smallest"],
    "its condition is computed": [
      "compress_0", "compress_1", "compress_default_axis", "compress_negative_axis",
    ],
    "input \"depth\" must be constant": [
      "onehot_negative_indices", "onehot_with_axis", "onehot_with_negative_axis",
      "onehot_without_axis",
    ],
  ]
}

extension NodeTests {
  /// Kernels compare and cast what shape arithmetic does not fold.
  @Test func comparisonsAndCastsOfValuesAreImported() throws {
    let folder = "/usr/share/libonnx-testdata/data/node"
    for (name, opcode) in [("less", "less"), ("cast_FLOAT_to_DOUBLE", "cast")] {
      let model = try ONNXImporter.importModel(at: "\(folder)/test_\(name)/model.onnx")
      #expect(model.graph.nodes.map(\.opcode.rawValue) == [opcode])
    }
  }
}

/// One of ONNX's test folders.
private struct NodeTest {
  private let model: OpenModel
  private let folder: URL

  /// - Returns: nil where the model has an operator or an operator set that Graft does not read.
  init?(at folder: URL) throws {
    self.folder = folder
    model = try OpenModel(reading: MappedFile(folder.appending(path: "model.onnx").path))
    guard model.model.functions.isEmpty, (try? SupportCheck.check(model.model)) != nil else {
      return nil
    }
  }

  /// The inputs that ONNX lets a network compute, but that a compiler has to know: those from the
  /// given one on.
  private static let firstConstantInput = [
    "Clip": 1, "Reshape": 1, "Pad": 1, "Slice": 1, "Split": 1, "Squeeze": 1, "Unsqueeze": 1,
    "Expand": 1, "ReduceMean": 1, "Pow": 1, "Gather": 1, "ConstantOfShape": 0, "Range": 0,
    "Dropout": 1, "ReduceSum": 1, "Resize": 1, "Upsample": 1, "Tile": 1, "Trilu": 1, "CumSum": 1,
    "MaxUnpool": 2, "If": 0, "NonZero": 0,
  ]

  private static let drawing = ["Bernoulli", "RandomUniformLike"]

  /// Their authors wrote the numbers down.
  private static let roundedToFourDigits = [
    "test_gridsample_bicubic", "test_roialign_aligned_false", "test_roialign_aligned_true",
  ]

  func run() throws {
    let graph = model.model.graph
    for input in graph.inputs where input.elementType == nil {
      throw GraftError(.unsupported, "input \(input.name) is no tensor")
    }
    let inputs = try graph.inputs.enumerated().map { try tensor("input_\($0).pb", as: $1) }
    var known = NameTable<TensorData>()
    var types: [(name: String, type: TensorType)] = []
    var fed: [String: TensorData] = [:]
    let constants = Set(
      graph.nodes.flatMap { node in
        node.inputs.dropFirst(Self.firstConstantInput[node.opType] ?? node.inputs.count)
      })
    var initializers = graph.initializers
    for (info, data) in zip(graph.inputs, inputs) {
      if constants.contains(info.name) {
        known[info.name] = data
        initializers.append(
          FileTensor(
            name: info.name, elementType: 0, extents: [], storage: .empty, isSegmented: false))
      } else {
        types.append((info.name, TensorType(data.dtype, TensorShape(data.shape))))
        fed[info.name] = data
      }
    }
    var file = graph
    file.initializers = initializers
    var converter = try Converter(
      ModelToConvert(
        graph: file, opset: model.model.opsets[""] ?? 0, parameters: known,
        loader: TensorLoader(file: model.file, path: folder.path)),
      inputTypes: types, freedBatch: nil,
      foldedBytes: ONNXImportOptions().largestFoldedBytes)
    try converter.run()
    if let warning = converter.warnings.first(where: { $0.message.contains("training mode") }) {
      throw GraftError(.unsupported, warning.message)
    }

    let isDouble = inputs.contains { $0.dtype == .float64 }
    var evaluator = ReferenceEvaluator(converter.graph, precision: isDouble ? .double : .single)
    let outputs = try evaluator.run(
      fed.mapValues { try HostTensor($0, precision: isDouble ? .double : .single) })
    for (index, info) in graph.outputs.enumerated() {
      let expected = try tensor("output_\(index).pb", as: info)
      guard let found = outputs[info.name] else {
        throw GraftError(.inconsistency, "no output \(info.name)")
      }
      try compare(found, expected)
    }
  }

  private func compare(_ found: HostTensor, _ expected: TensorData) throws {
    guard found.shape == expected.shape, let values = found.doubles else {
      throw GraftError(.inconsistency, "shape \(found.shape), expected \(expected.shape)")
    }
    // What others draw is not what Graft does; RandomFunctionTests are about it.
    if model.model.graph.nodes.contains(where: { Self.drawing.contains($0.opType) }) { return }
    // These files cut bfloat16 off; ONNX has rounded since, as Graft does: one unit in the last place.
    let isRounded = Self.roundedToFourDigits.contains(folder.lastPathComponent)
    let tolerance = expected.dtype == .bfloat16 ? 0x1p-7 : isRounded ? 1e-4 : 1e-5
    for (position, (value, want)) in zip(values, expected.doubles()).enumerated() {
      let agrees =
        value == want || (value.isNaN && want.isNaN)
        || abs(value - want) <= tolerance * max(1, abs(want))
      guard agrees else {
        throw GraftError(.inconsistency, "element \(position) is \(value), expected \(want)")
      }
    }
  }

  /// A TensorProto of the first data set, read as the only initializer of a model round it. The files
  /// give bfloat16 as the integers of its bits; what the model declares decides.
  private func tensor(_ name: String, as declared: FileValueInfo) throws -> TensorData {
    let url = folder.appending(path: "test_data_set_0").appending(path: name)
    let tensor = [UInt8](try Data(contentsOf: url))
    let graph = field(5, tensor)
    let file = MemoryBytes(field(7, graph))
    let open = try OpenModel(reading: file)
    guard let initializer = open.model.graph.initializers.first else {
      throw GraftError(.inconsistency, "\(name) holds no tensor")
    }
    var loader = TensorLoader(file: file, path: url.path)
    let data = try loader.data(of: initializer)
    guard data.dtype == .uint16, ElementTypes.dtype(declared.elementType ?? 0) == .bfloat16 else {
      return data
    }
    return try TensorData(
      .bfloat16, data.shape, in: MemoryBytes(data.withUnsafeBytes { Array($0) }))
  }

  /// A length-delimited field of the wire format.
  private func field(_ number: UInt8, _ content: [UInt8]) -> [UInt8] {
    var length = content.count
    var bytes = [number << 3 | 2]
    while length >= 0x80 {
      bytes.append(UInt8(length & 0x7f) | 0x80)
      length >>= 7
    }
    return bytes + [UInt8(length)] + content
  }
}
