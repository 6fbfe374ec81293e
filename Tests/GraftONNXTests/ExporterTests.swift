import Foundation
import GraftDiagnostics
import GraftIR
import GraftOps
import GraftTesting
import Testing

@testable import GraftONNX

/// The bytes that exporting gives.
private func export(_ graph: Graph, opset: Int = 17) throws -> [UInt8] {
  var bytes: [UInt8] = []
  try ONNXExporter.write(graph, options: ONNXExportOptions(importedOpset: opset)) {
    bytes.append(contentsOf: $0)
  }
  return bytes
}

private func reimport(_ graph: Graph, opset: Int = 17) throws -> ImportedModel {
  try ONNXImporter.importModel(
    from: MemoryBytes(try export(graph, opset: opset)), path: "exported.onnx",
    options: ONNXImportOptions())
}

@Suite("Writing ONNX")
struct ExporterTests {
  @Test(
    "what is exported imports as the same graph, with the same names",
    arguments: [
      "classifier", "residual_block", "dense_block", "fire_module", "shuffle_block", "opset_7",
      "opset_13", "opset_21", "nhwc_tensorflow", "hostile_names", "two_inputs_two_outputs",
      "weights_float16", "unicode_names",
    ])
  func roundTrip(_ name: String) throws {
    let first = try ONNXImporter.importModel(
      at: fixtures.appending(path: "\(name).onnx").path)
    let second = try reimport(first.graph, opset: first.opset)
    #expect(second.graph.text == first.graph.text)
    for (left, right) in zip(first.graph.parameters, second.graph.parameters) {
      let (before, after) = (first.graph[left].parameter?.data, second.graph[right].parameter?.data)
      #expect(before?.withUnsafeBytes { Array($0) } == after?.withUnsafeBytes { Array($0) })
    }
  }

  @Test("opset 17 at least, the file's own where it is newer")
  func versions() throws {
    let graph = try importModel(.convolution()).graph
    for (imported, written, ir) in [
      (9, 17, 8), (17, 17, 8), (18, 18, 8), (20, 20, 9), (21, 21, 10),
    ] {
      let model = try reimport(graph, opset: imported)
      #expect(model.opset == written)
      #expect(model.irVersion == ir)
      #expect(model.producer == "graft")
    }
  }

  @Test("the opset in which an operator has what it is written with, where the file's is older")
  func newerAttributes() throws {
    let window = Window(kernel: [2, 2], strides: [1, 1], pads: [0, 0, 0, 0], dilations: [2, 2])
    let operations: [any Operator] = [
      AveragePool(window: window), Pad(pads: [0, 0, 1, 0, 0, 0, 0, 0], mode: .wrap),
    ]
    for operation in operations {
      var graph = Graph(name: "g")
      let x = graph.addInput("x", TensorType(.float32, [.batch, 2, 4, 4]))
      let y = try graph.append(operation, [x], names: ["y"], origins: ["node"])[0]
      graph.outputs = [GraphOutput(name: "y", value: y)]
      for (imported, written) in [(17, 19), (21, 21)] {
        let model = try reimport(graph, opset: imported)
        #expect(model.opset == written)
        #expect(model.graph.text == graph.text)
      }
    }
  }

  @Test("outputs that share a value, or are an input, are written as copies")
  func sharedOutputs() throws {
    var graph = Graph(name: "g")
    let x = graph.addInput("x", TensorType(.float32, [.batch, 4]))
    let y = try graph.append(Relu(), [x], names: ["hidden"], origins: ["r"])[0]
    graph.outputs = [
      GraphOutput(name: "a", value: y), GraphOutput(name: "b", value: y),
      GraphOutput(name: "c", value: x),
    ]
    let model = try OpenModel(reading: MemoryBytes(try export(graph))).model
    #expect(model.graph.outputs.map(\.name) == ["a", "b", "c"])
    #expect(model.graph.nodes.map(\.opType) == ["Relu", "Identity", "Identity"])
    #expect(model.graph.nodes.map(\.outputs) == [["a"], ["b"], ["c"]])
    #expect(model.graph.nodes.map(\.inputs) == [["x"], ["a"], ["x"]])
  }

  @Test("what ONNX cannot hold is refused before anything is written")
  func refused() throws {
    var graph = Graph(name: "g")
    let x = graph.addInput("x", TensorType(.float32, [.batch, 3, 8, 8]))
    let w = graph.addParameter("w", TensorType(.float32, [4, 3, 1, 1]), Parameter())
    let y = try graph.append(Convolution(), [x, w], origins: ["c"])[0]
    graph.outputs = [GraphOutput(name: "y", value: y)]
    let error = #expect(throws: GraftError.self) { _ = try export(graph) }
    #expect(error?.message.contains(#"parameter "w" has no data"#) == true)
  }
}
