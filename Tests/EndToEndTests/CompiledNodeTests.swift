// ONNX's own tests of single operators (Debian's libonnx-testdata) through the whole compiler: joined into
// one network each of a kind, so that clang runs a few times only. GraftONNXTests runs all of ONNX's
// tests in the reference evaluator, and says why some are refused.

import Foundation
import Graft
import GraftIR
import GraftONNX
import GraftOps
import GraftTesting
import Testing

@Suite struct CompiledNodeTests {
  /// ONNX feeds weights and shapes as inputs too. Here the first input is computed, the others are
  /// constants, as files have them.
  static let ofOneTensor = [
    "averagepool_2d_ceil", "averagepool_2d_default", "averagepool_2d_pads_count_include_pad",
    "averagepool_2d_same_lower", "averagepool_2d_strides", "basic_conv_with_padding",
    "basic_conv_without_padding", "batchnorm_epsilon", "batchnorm_example", "clip",
    "clip_splitbounds", "constant_pad", "conv_with_autopad_same",
    "conv_with_strides_and_asymmetric_padding", "conv_with_strides_padding", "expand_dim_changed",
    "flatten_axis2", "gather_0", "gather_2d_indices", "gemm_all_attributes",
    "gemm_default_vector_bias", "gemm_transposeB", "hardswish", "leakyrelu", "logsoftmax_axis_1",
    "lrn", "maxpool_2d_ceil", "maxpool_2d_dilations", "maxpool_2d_pads", "maxpool_2d_same_upper",
    "reduce_mean_keepdims_example", "reshape_negative_extended_dims", "slice", "slice_neg_steps",
    "softmax_axis_0", "softmax_large_number", "split_variable_parts_2d", "tanh",
    "transpose_all_permutations_3", "unsqueeze_two_axes",
  ]
  static let ofComputedTensors = [
    "add_bcast", "concat_3d_axis_1", "div", "matmul_2d", "matmul_4d", "max_example",
    "min_float32", "mul", "sub_bcast", "sum_example",
  ]

  @Test func ofOneTensorAndConstants() throws {
    try check(Self.ofOneTensor.map { try NodeCase($0, computedInputs: 1) })
  }

  @Test func ofSeveralTensors() throws {
    try check(Self.ofComputedTensors.map { try NodeCase($0, computedInputs: .max) })
  }

  private func check(_ cases: [NodeCase]) throws {
    var joined = Graph(name: "joined")
    for test in cases { try test.add(to: &joined) }
    try joined.verify()
    try withTemporaryFolder { folder in
      var bytes: [UInt8] = []
      try ONNXExporter.write(joined) { bytes += $0 }
      try Data(bytes).write(to: URL(filePath: folder + "/joined.onnx"))
      try Compiler().compile(folder + "/joined.onnx", to: folder + "/joined.graft")
      let session = try Session(ModelBundle(opening: folder + "/joined.graft"), threads: 2)
      let found = try session.run(
        cases.reduce(into: [:]) { inputs, test in inputs.merge(test.inputs) { $1 } })
      for (name, expected) in cases.flatMap(\.outputs) {
        guard let output = found[name], output.shape == expected.shape else {
          Issue.record("\(name) is \(found[name]?.shape.description ?? "missing")")
          continue
        }
        let agrees = zip(output.elements, expected.elements).allSatisfy { value, want in
          value == want || abs(value - want) <= 1e-5 * max(1, abs(want))
        }
        #expect(agrees, "\(name): \(output.elements), expected \(expected.elements)")
      }
    }
  }
}

/// One of ONNX's test folders, its first data set.
private struct NodeCase {
  let name: String
  /// Fixed shapes throughout; constants in place of the inputs that are not computed.
  let graph: Graph
  /// By the names that they have in the joined network.
  private(set) var inputs: [String: Tensor] = [:]
  private(set) var outputs: [(name: String, tensor: Tensor)] = []

  init(_ name: String, computedInputs: Int) throws {
    self.name = name
    let folder = URL(filePath: "/usr/share/libonnx-testdata/data/node/test_\(name)")
    func read(_ path: String) throws -> [UInt8]? {
      FileManager.default.contents(atPath: folder.appending(path: path).path).map { Array($0) }
    }
    let model = try #require(
      try read("model.onnx"), "libonnx-testdata lacks \(name): run tools/setup")
    var constants: [UInt8] = []
    var number = 0
    while let bytes = try read("test_data_set_0/input_\(number).pb") {
      if number < computedInputs {
        let (own, tensor) = try Self.tensor(bytes)
        inputs["\(name)/\(own)"] = tensor
      } else {
        constants += Wire.bytes(5, bytes)
      }
      number += 1
    }
    try #require(number > 0)
    var options = ONNXImportOptions()
    options.freesBatch = false
    graph = try ONNXImporter.importModel(
      from: MemoryBytes(Self.adding(constants, toGraphOf: model)), path: name, options: options
    ).graph
    for number in graph.outputs.indices {
      let bytes = try #require(try read("test_data_set_0/output_\(number).pb"))
      outputs.append(("\(name)/\(graph.outputs[number].name)", try Self.tensor(bytes).tensor))
    }
  }

  /// Copies the graph into `joined`, its names behind the test's.
  func add(to joined: inout Graph) throws {
    var new: [ValueID: ValueID] = [:]
    for id in graph.inputs {
      new[id] = joined.addInput("\(name)/\(graph[id].name ?? "")", graph.type(of: id))
    }
    for id in graph.parameters {
      guard let parameter = graph[id].parameter else { continue }
      new[id] = joined.addParameter(
        "\(name)/\(graph[id].name ?? "")", graph.type(of: id), parameter)
    }
    for node in graph.nodes {
      let results = try joined.append(
        Catalog.operation(of: node), node.operands.map { $0.flatMap { new[$0] } },
        origins: [name])
      for (old, result) in zip(node.results, results) { new[old] = result }
    }
    for output in graph.outputs {
      joined.outputs.append(
        GraphOutput(name: "\(name)/\(output.name)", value: try #require(new[output.value])))
    }
  }

  // MARK: Reading protobuf

  /// The fields of a message: number, contents of those with a length, and all bytes.
  private static func fields(
    _ message: ArraySlice<UInt8>
  ) throws -> [(number: Int, value: Int, content: ArraySlice<UInt8>, all: ArraySlice<UInt8>)] {
    var position = message.startIndex
    func varint() throws -> Int {
      var (value, shift) = (0, 0)
      while true {
        try #require(position < message.endIndex && shift < 63)
        let byte = message[position]
        position += 1
        value |= Int(byte & 0x7F) << shift
        shift += 7
        if byte & 0x80 == 0 { return value }
      }
    }
    var result: [(number: Int, value: Int, content: ArraySlice<UInt8>, all: ArraySlice<UInt8>)] = []
    while position < message.endIndex {
      let start = position
      let tag = try varint()
      var value = 0
      var length = 0
      switch tag & 7 {
      case 0: value = try varint()
      case 1: length = 8
      case 2: length = try varint()
      case 5: length = 4
      default: Issue.record("wire type \(tag & 7)")
      }
      try #require(length <= message.endIndex - position)
      let content = message[position..<position + length]
      position += length
      result.append((tag >> 3, value, content, message[start..<position]))
    }
    return result
  }

  /// A ModelProto with more fields in its GraphProto.
  private static func adding(_ more: [UInt8], toGraphOf model: [UInt8]) throws -> [UInt8] {
    try fields(model[...]).flatMap { field in
      field.number == 7 ? Wire.bytes(7, field.content + more) : Array(field.all)
    }
  }

  /// The name and the elements of a TensorProto of float32 in raw_data.
  private static func tensor(_ bytes: [UInt8]) throws -> (name: String, tensor: Tensor) {
    var name = ""
    var shape: [Int] = []
    var elements: [Float] = []
    for field in try fields(bytes[...]) {
      switch field.number {
      case 1: shape.append(field.value)
      case 2: try #require(field.value == 1, "float32 is expected")
      case 8: name = String(decoding: field.content, as: UTF8.self)
      case 9:
        elements = field.content.withUnsafeBytes { raw in
          (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
      default: break
      }
    }
    return (name, try Tensor(shape: shape, elements: elements))
  }
}
